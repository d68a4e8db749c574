# ruby-redis: what an application in Ruby does with it.

require 'redis'

PORT = Integer(ENV.fetch('PORT'))
def connection(**options) = Redis.new(host: '127.0.0.1', port: PORT, **options)

def same(actual, expected, what = 'value')
  raise "#{what}: got #{actual.inspect}, expected #{expected.inspect}" unless actual == expected
end

def holds(condition, what)
  raise what unless condition
end

def refusal
  yield
  nil
rescue Redis::CommandError => e
  e.message
end

def wait_for(what)
  finish = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 5
  until yield
    holds(Process.clock_gettime(Process::CLOCK_MONOTONIC) < finish, "never came: #{what}")
    sleep 0.005
  end
end

def check(name)
  yield
  puts "ok #{name}"
rescue StandardError => e
  puts "not ok #{name}: #{e.class}: #{e.message.gsub(/\s+/, ' ')}"
  warn e.full_message
ensure
  $stdout.flush
end

r = connection

check 'connect by URL with name and database' do
  c = Redis.new(url: "redis://127.0.0.1:#{PORT}/4", id: 'clerk')
  same c.client(:getname), 'clerk'
  c.set('where', 'four')
  same r.get('where'), nil
  holds r.info('server')['redis_version'] =~ /\A\d+\.\d+\.\d+\z/, 'a version'
  c.quit
end

check 'strings, expiry, many keys, bytes' do
  same r.set('k', 'v', nx: true, ex: 100), true
  same r.set('k', 'w', nx: true), false
  holds r.ttl('k') > 95, 'the time to live'
  same r.getdel('k'), 'v'
  same r.incrby('n', 5), 5
  same r.mapped_mset('a' => '1', 'b' => '2'), 'OK'
  same r.mapped_mget('a', 'missing', 'b'), { 'a' => '1', 'missing' => nil, 'b' => '2' }
  bytes = (0..255).to_a.pack('C*')
  r.set(bytes, bytes)
  same r.get(bytes).b, bytes
  r.set('word', 'abc')
  same refusal { r.incr('word') }, 'ERR value is not an integer or out of range'
end

check 'streams' do
  same r.xadd('s', { name: 'ada' }, id: '1-1'), '1-1'
  same r.xadd('s', { name: 'grace', city: 'arlington' }, id: '2-1'), '2-1'
  holds r.xadd('s', { name: 'barbara' }, maxlen: 1000, approximate: true) =~ /\A\d{13}-\d+\z/, 'an automatic id'
  same r.xlen('s'), 3
  same r.xrange('s', '-', '2-1'), [['1-1', { 'name' => 'ada' }], ['2-1', { 'name' => 'grace', 'city' => 'arlington' }]]
  same r.xrevrange('s', '2-1', '-', count: 1).map(&:first), ['2-1']
  same r.xread(%w[s missing], %w[1-1 0], count: 1), { 's' => [['2-1', { 'name' => 'grace', 'city' => 'arlington' }]] }
  same r.xdel('s', '1-1', '9-9'), 1
  same r.xtrim('s', 1), 1
  info = r.xinfo(:stream, 's')
  same info.values_at('length', 'entries-added', 'max-deleted-entry-id'), [1, 3, '1-1']
end

check 'a group from XGROUP CREATE to XGROUP DESTROY' do
  same r.xgroup(:create, 'work', 'g', '$', mkstream: true), 'OK'
  holds refusal { r.xgroup(:create, 'work', 'g', '$') }.start_with?('BUSYGROUP '), 'the group is known'
  (1..3).each { |n| r.xadd('work', { n: n }, id: "#{n}-0") }
  same r.xreadgroup('g', 'alice', 'work', '>', count: 2), { 'work' => [['1-0', { 'n' => '1' }], ['2-0', { 'n' => '2' }]] }
  same r.xack('work', 'g', '1-0'), 1
  same r.xpending('work', 'g'), { 'size' => 1, 'min_entry_id' => '2-0', 'max_entry_id' => '2-0', 'consumers' => { 'alice' => '1' } }
  same r.xpending('work', 'g', '-', '+', 10).map { |row| row.values_at('entry_id', 'consumer', 'count') }, [['2-0', 'alice', 1]]
  same r.xclaim('work', 'g', 'bob', 0, '2-0'), [['2-0', { 'n' => '2' }]]
  same r.xautoclaim('work', 'g', 'carol', 0, '0-0', justid: true), { 'next' => '0-0', 'entries' => ['2-0'] }
  same r.xinfo(:groups, 'work').map { |group| group.values_at('name', 'consumers', 'pending', 'lag') }, [['g', 3, 1, 1]]
  same r.xinfo(:consumers, 'work', 'g').map { |consumer| consumer.values_at('name', 'pending') }, [['alice', 0], ['bob', 0], ['carol', 1]]
  same r.xgroup(:destroy, 'work', 'g'), 1
end

check 'three workers share a queue, a producer wakes them' do
  r.xgroup(:create, 'jobs', 'g', '$', mkstream: true)
  seen = Queue.new
  workers = %w[a b c].map do |name|
    Thread.new do
      c = connection
      loop do
        reply = c.xreadgroup('g', name, 'jobs', '>', count: 5, block: 3000)
        reply.fetch('jobs').each do |id, fields|
          Thread.exit if fields['n'] == 'stop'
          seen << Integer(fields['n'])
          c.xack('jobs', 'g', id)
        end
      end
    end
  end
  wait_for('three blocked readers') { r.info('clients')['blocked_clients'] == '3' }
  100.times { |n| r.xadd('jobs', { n: n }) }
  wait_for('all jobs') { seen.size == 100 }
  wait_for('three blocked readers again') { r.info('clients')['blocked_clients'] == '3' }
  # One after the other, so that no worker takes two of them.
  3.downto(1) do |left|
    r.xadd('jobs', { n: 'stop' })
    wait_for('a worker to end') { r.info('clients')['blocked_clients'] == (left - 1).to_s }
  end
  workers.each(&:join)
  same Array.new(100) { seen.pop }.sort, (0...100).to_a
  same connection.xread('jobs', '$', block: 50), {}
end

check 'channels and patterns' do
  heard = []
  subscriber = connection
  thread = Thread.new do
    subscriber.subscribe('news', 'control') do |on|
      on.message do |channel, message|
        heard << [channel, message]
        subscriber.unsubscribe if channel == 'control'
      end
    end
  end
  patterns = []
  listener = connection
  other = Thread.new do
    listener.psubscribe_with_timeout(5, 'ne*') do |on|
      on.pmessage do |pattern, channel, message|
        patterns << [pattern, channel, message]
        listener.punsubscribe if message == 'again'
      end
    end
  end
  wait_for('the subscriptions') { r.pubsub(:numsub, 'control') == ['control', 1] && r.pubsub(:numpat) == 1 }
  same r.publish('news', 'hello'), 2
  same r.publish('news', 'again'), 2
  other.join
  same r.publish('control', 'stop'), 1
  thread.join
  same heard, [%w[news hello], %w[news again], %w[control stop]]
  same patterns, [%w[ne* news hello], %w[ne* news again]]
  same subscriber.get('a key afterwards'), nil
end

check 'MULTI and EXEC, WATCH with a conflict, a pipeline' do
  replies = r.multi do |t|
    t.set('{m}', 1)
    t.incr('{m}')
    t.xadd('{m}s', { a: 'b' }, id: '1-1')
  end
  same replies, ['OK', 2, '1-1']
  lost = r.watch('{m}') do
    connection.set('{m}', 50)
    r.multi { |t| t.set('{m}', 3) }
  end
  same [lost, r.get('{m}')], [nil, '50']
  replies = r.pipelined { |p| 1000.times { p.incr('counter') } }
  same replies, (1..1000).to_a
end

check 'SCAN' do
  r.pipelined { |p| 250.times { |n| p.set("scan:#{n}", 'v') } }
  same r.scan_each(match: 'scan:*', count: 20).to_a.uniq.size, 250
end

check 'comes back after CLIENT KILL' do
  c = connection(id: 'victim', reconnect_attempts: 3)
  before = c.client(:id)
  same r.client(:kill, 'ID', before), 1
  holds c.client(:id) != before, 'another connection'
  same c.client(:getname), 'victim'
end

puts 'done'
