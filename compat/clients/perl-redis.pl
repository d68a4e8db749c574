#!/usr/bin/env perl
# Redis.pm (Debian's libredis-perl): what an application in Perl does with it.

use strict;
use warnings;
use JSON::PP;
use Redis;
use Time::HiRes qw(sleep time);

$| = 1;
my $address = "127.0.0.1:$ENV{PORT}";
my $json = JSON::PP->new->canonical->allow_nonref->allow_unknown;

sub connection { Redis->new(server => $address, encoding => undef, @_) }

sub same {
    my ($actual, $expected, $what) = @_;
    my ($one, $two) = map { $json->encode($_) } $actual, $expected;
    die(($what // 'value') . ": got $one, expected $two\n") if $one ne $two;
}

sub holds { my ($condition, $what) = @_; $condition or die "$what\n" }

sub refusal { my ($call) = @_; eval { $call->(); 1 } ? '' : $@ }

sub wait_for {
    my ($what, $condition) = @_;
    my $end = time + 5;
    until ($condition->()) { holds(time < $end, "never came: $what"); sleep 0.005 }
}

sub check {
    my ($name, $run) = @_;
    if (eval { $run->(); 1 }) { print "ok $name\n" }
    else { (my $why = "$@") =~ s/\s+/ /g; print "not ok $name: $why\n" }
}

my $r = connection();

check 'connect with name and database' => sub {
    my $c = connection(name => 'clerk');
    same($c->client_getname, 'clerk');
    $c->select(4);
    $c->set(where => 'four');
    same($r->get('where'), undef);
    holds($r->info->{redis_version} =~ /^\d+\.\d+\.\d+$/, 'a version');
    $c->quit;
};

check 'strings, expiry, many keys, bytes' => sub {
    same($r->set(k => 'v', 'EX', 100, 'NX'), 'OK');
    same($r->set(k => 'w', 'NX'), undef);
    holds($r->ttl('k') > 95, 'the time to live');
    same($r->incrby('n', 5) + 0, 5);
    $r->mset(a => 1, b => 2);
    same([$r->mget('a', 'missing', 'b')], ['1', undef, '2']);
    my $bytes = join '', map { chr } 0 .. 255;
    $r->set($bytes => $bytes);
    holds($r->get($bytes) eq $bytes, 'the bytes');
    holds(refusal(sub { $r->incr('k') }) =~ /ERR value is not an integer or out of range/, 'an error');
};

check 'streams and groups' => sub {
    same($r->xgroup('CREATE', 'work', 'g', '$', 'MKSTREAM'), 'OK');
    holds(refusal(sub { $r->xgroup('CREATE', 'work', 'g', '$') }) =~ /BUSYGROUP/, 'the group is known');
    same($r->xadd('work', "$_-0", n => $_), "$_-0") for 1 .. 3;
    same([$r->xrange('work', '-', '2')], [['1-0', ['n', '1']], ['2-0', ['n', '2']]]);
    same([$r->xreadgroup('GROUP', 'g', 'alice', 'COUNT', 2, 'STREAMS', 'work', '>')], [['work', [['1-0', ['n', '1']], ['2-0', ['n', '2']]]]]);
    same($r->xack('work', 'g', '1-0') + 0, 1);
    my ($count, $first, $last, $consumers) = $r->xpending('work', 'g');
    same([$count + 0, $first, $last, $consumers], [1, '2-0', '2-0', [['alice', '1']]]);
    my ($cursor, $entries, $gone) = $r->xautoclaim('work', 'g', 'bob', 0, 0);
    same([$cursor, $entries, $gone], ['0-0', [['2-0', ['n', '2']]], []]);
    same($r->xlen('work') + 0, 3);
    same($r->xtrim('work', 'MAXLEN', 1) + 0, 2);
    same($r->xgroup('DESTROY', 'work', 'g') + 0, 1);
};

check 'a worker that blocks gets what another process adds' => sub {
    $r->xgroup('CREATE', 'jobs', 'g', '$', 'MKSTREAM');
    my $child = fork // die "no process: $!";
    if (!$child) {
        my $producer = connection();
        wait_for('the blocked reader' => sub { $producer->info->{blocked_clients} == 1 });
        $producer->xadd('jobs', '*', n => $_) for 0 .. 99;
        $producer->quit;
        # Without what the parent would do at its end.
        require POSIX;
        POSIX::_exit(0);
    }
    my @seen;
    while (@seen < 100) {
        my ($stream) = $r->xreadgroup('GROUP', 'g', 'c', 'COUNT', 10, 'BLOCK', 5000, 'STREAMS', 'jobs', '>');
        holds($stream, 'the read timed out');
        for my $entry (@{ $stream->[1] }) {
            push @seen, $entry->[1][1] + 0;
            $r->xack('jobs', 'g', $entry->[0]);
        }
    }
    waitpid $child, 0;
    same(\@seen, [0 .. 99]);
};

check 'channels and patterns' => sub {
    my $listener = connection();
    my @heard;
    my $hear = sub { my ($message, $channel, $subscribed) = @_; push @heard, [$channel, $subscribed, $message] };
    $listener->subscribe('news', $hear);
    $listener->psubscribe('ne*', $hear);
    same($r->publish('news', 'hello') + 0, 2);
    same($r->publish('news', 'again') + 0, 2);
    $listener->wait_for_messages(5) while @heard < 4;
    same(\@heard, [map { (['news', 'news', $_], ['news', 'ne*', $_]) } 'hello', 'again']);
    $listener->unsubscribe('news', $hear);
    $listener->punsubscribe('ne*', $hear);
    same($listener->get('a key afterwards'), undef);
    same($r->publish('news', 'nobody') + 0, 0);
};

check 'MULTI and EXEC, WATCH with a conflict' => sub {
    $r->multi;
    $r->set('{m}', 1);
    $r->incr('{m}');
    $r->xadd('{m}s', '1-1', 'a', 'b');
    my ($set, $incremented, $id) = $r->exec;
    same([$set, $incremented + 0, $id], ['OK', 2, '1-1']);
    $r->watch('{m}');
    connection()->set('{m}', 50);
    $r->multi;
    $r->set('{m}', 3);
    $r->exec;
    same($r->get('{m}'), '50');
};

check 'a pipeline of a thousand, replies in order' => sub {
    my @replies;
    $r->incr('counter', sub { push @replies, $_[0] + 0 }) for 1 .. 1000;
    $r->wait_all_responses;
    same(\@replies, [1 .. 1000]);
};

check 'comes back after CLIENT KILL' => sub {
    my $c = connection(name => 'victim', reconnect => 5, every => 5000);
    my $before = $c->client('ID');
    same($r->client('KILL', 'ID', $before) + 0, 1);
    holds($c->client('ID') != $before, 'another connection');
    same($c->client_getname, 'victim');
};

print "done\n";
