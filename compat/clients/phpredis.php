<?php
// php-redis, the extension written in C: what a PHP application does with it.

require __DIR__ . '/../support/checks.php';

$port = (int) getenv('PORT');
function connection(): Redis
{
    $redis = new Redis();
    $redis->connect('127.0.0.1', $GLOBALS['port'], 5);
    return $redis;
}
$r = connection();

check('connect, name, database', function () {
    $c = connection();
    holds($c->client('setname', 'clerk'), 'the name is taken');
    same($c->client('getname'), 'clerk');
    holds($c->select(4), 'database 4');
    $c->set('where', 'four');
    same($GLOBALS['r']->get('where'), false);
    holds(str_starts_with($c->info('server')['redis_version'], '7') || str_starts_with($c->info('server')['redis_version'], '8'), 'the version');
});

check('strings, expiry, many keys', function () use ($r) {
    same($r->set('k', 'v', ['nx', 'ex' => 100]), true);
    same($r->set('k', 'w', ['nx']), false);
    holds($r->ttl('k') > 95, 'the time to live');
    same($r->getSet('k', 'x'), 'v');
    same($r->incrBy('n', 5), 5);
    same($r->mset(['a' => '1', 'b' => '2']), true);
    same($r->mget(['a', 'missing', 'b']), ['1', false, '2']);
    same($r->del('a', 'b', 'missing'), 2);
    $bytes = implode('', array_map('chr', range(0, 255)));
    $r->set($bytes, $bytes);
    same(bin2hex($r->get($bytes)), bin2hex($bytes));
});

check('streams', function () use ($r) {
    same($r->xAdd('s', '1-1', ['name' => 'ada']), '1-1');
    same($r->xAdd('s', '2-1', ['name' => 'grace', 'city' => 'arlington']), '2-1');
    same(preg_match('/^\d{13}-\d+$/', $r->xAdd('s', '*', ['name' => 'barbara'], 1000, true)), 1);
    same($r->xLen('s'), 3);
    same($r->xRange('s', '-', '2-1'), ['1-1' => ['name' => 'ada'], '2-1' => ['name' => 'grace', 'city' => 'arlington']]);
    same(array_keys($r->xRevRange('s', '2-1', '-', 1)), ['2-1']);
    same($r->xRead(['s' => '1-1', 'missing' => '0'], 1), ['s' => ['2-1' => ['name' => 'grace', 'city' => 'arlington']]]);
    same($r->xDel('s', ['1-1', '9-9']), 1);
    same($r->xTrim('s', 1), 1);
    $info = $r->xInfo('STREAM', 's');
    same([$info['length'], $info['entries-added'], $info['max-deleted-entry-id']], [1, 3, '1-1']);
});

check('a group from XGROUP CREATE to XGROUP DESTROY', function () use ($r) {
    same($r->xGroup('CREATE', 'work', 'g', '$', true), true);
    same($r->xGroup('CREATE', 'work', 'g', '$'), false);
    same(substr($r->getLastError(), 0, 10), 'BUSYGROUP ');
    for ($n = 1; $n <= 3; $n++) {
        $r->xAdd('work', "$n-0", ['n' => (string) $n]);
    }
    same($r->xReadGroup('g', 'alice', ['work' => '>'], 2), ['work' => ['1-0' => ['n' => '1'], '2-0' => ['n' => '2']]]);
    same($r->xAck('work', 'g', ['1-0']), 1);
    same($r->xPending('work', 'g'), [1, '2-0', '2-0', [['alice', '1']]]);
    [[$id, $consumer, , $deliveries]] = $r->xPending('work', 'g', '-', '+', 10);
    same([$id, $consumer, $deliveries], ['2-0', 'alice', 1]);
    same($r->xClaim('work', 'g', 'bob', 0, ['2-0']), ['2-0' => ['n' => '2']]);
    same($r->xClaim('work', 'g', 'bob', 0, ['2-0'], ['JUSTID']), ['2-0']);
    [$group] = $r->xInfo('GROUPS', 'work');
    same([$group['name'], $group['consumers'], $group['pending'], $group['lag']], ['g', 2, 1, 1]);
    same($r->xGroup('DESTROY', 'work', 'g'), 1);
});

check('blocked readers: one times out, one is woken', function () use ($r) {
    $start = microtime(true);
    same($r->xRead(['queue' => '$'], 1, 80), []);
    holds(microtime(true) - $start >= 0.078, 'it waited');
    $r->xGroup('CREATE', 'queue', 'g', '$', true);
    $child = beside(function () {
        $other = connection();
        until(fn () => $other->info('clients')['blocked_clients'] === '1' || $other->info('clients')['blocked_clients'] === 1, 'the blocked reader');
        $other->xAdd('queue', '1-0', ['job' => 'sweep']);
    });
    same($r->xReadGroup('g', 'c', ['queue' => '>'], 1, 8000), ['queue' => ['1-0' => ['job' => 'sweep']]]);
    pcntl_waitpid($child, $status);
});

check('channels and patterns', function () use ($r) {
    foreach (['subscribe' => ['news', 'sports'], 'psubscribe' => ['ne*', 'spo*']] as $how => $names) {
        $child = beside(function () use ($how) {
            $other = connection();
            until(fn () => $how === 'subscribe' ? $other->pubsub('numsub', ['sports'])['sports'] == 1 : $other->pubsub('numpat') == 2, 'the subscription');
            foreach (['hello', 'again', 'end'] as $word) {
                $other->publish($word === 'end' ? 'sports' : 'news', $word);
            }
        });
        $heard = [];
        $listener = connection();
        $listener->setOption(Redis::OPT_READ_TIMEOUT, 8);
        // The extension stays in its loop until the connection ends: here by the hand of another one.
        $hear = function (...$words) use (&$heard, $r) {
            $heard[] = array_slice($words, 1);
            if (end($words) === 'end') {
                same($r->rawCommand('CLIENT', 'KILL', 'TYPE', 'pubsub'), 1);
            }
        };
        $end = refusal(fn () => $listener->$how($names, $hear));
        holds(str_starts_with($end, 'read error on connection'), "how it ended: $end");
        $listener->close();
        until(fn () => $r->pubsub('numpat') === 0 && $r->pubsub('numsub', ['sports'])['sports'] === 0, 'the end of the subscription');
        pcntl_waitpid($child, $status);
        $plain = [['news', 'hello'], ['news', 'again'], ['sports', 'end']];
        $pattern = [['ne*', 'news', 'hello'], ['ne*', 'news', 'again'], ['spo*', 'sports', 'end']];
        same($heard, $how === 'subscribe' ? $plain : $pattern);
    }
});

check('MULTI and EXEC, WATCH with a conflict, a pipeline', function () use ($r) {
    same($r->multi()->set('{m}', '1')->incr('{m}')->xAdd('{m}s', '1-1', ['a' => 'b'])->exec(), [true, 2, '1-1']);
    $r->watch('{m}');
    connection()->set('{m}', '50');
    same($r->multi()->set('{m}', '3')->exec(), false);
    same($r->get('{m}'), '50');
    $pipeline = $r->pipeline();
    for ($n = 0; $n < 1000; $n++) {
        $pipeline->incr('counter');
    }
    same($pipeline->exec(), range(1, 1000));
});

check('SCAN', function () use ($r) {
    for ($n = 0; $n < 250; $n++) {
        $r->set("scan:$n", 'v');
    }
    $r->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
    $found = [];
    $cursor = null;
    while ($keys = $r->scan($cursor, 'scan:*', 20)) {
        foreach ($keys as $key) {
            $found[$key] = true;
        }
    }
    same(count($found), 250);
});

check('sessions of PHP are kept as strings that expire', function () use ($r) {
    // Which reads its cookie from the arguments, since there is no browser.
    $set = ['session.save_handler' => 'redis', 'session.save_path' => "tcp://127.0.0.1:{$GLOBALS['port']}?prefix=sess:"];
    $set += ['session.use_cookies' => '0', 'session.use_only_cookies' => '0', 'session.cache_limiter' => ''];
    $flags = implode(' ', array_map(fn ($k, $v) => '-d ' . escapeshellarg("$k=\"$v\""), array_keys($set), $set));
    $run = fn ($code) => shell_exec(PHP_BINARY . " $flags -r " . escapeshellarg("session_id('abc'); session_start(); $code") . ' 2>&1');
    same($run('$_SESSION["cart"] = ["apple", "pear"];'), null);
    same($run('echo json_encode($_SESSION);'), '{"cart":["apple","pear"]}');
    holds($r->ttl('sess:abc') > 100, 'the session expires');
});

echo "done\n";
