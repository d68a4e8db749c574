<?php
// php-predis, the client written in PHP. Its release in Debian has no methods for streams: those commands go as they are.

require __DIR__ . '/../support/checks.php';
require 'Predis/Autoloader.php';
Predis\Autoloader::register();

$address = ['host' => '127.0.0.1', 'port' => (int) getenv('PORT'), 'read_write_timeout' => 10];
$r = new Predis\Client($address);
$raw = fn (...$words) => $r->executeRaw($words);

check('connect with database, strings, expiry', function () use ($r, $address) {
    $c = new Predis\Client($address + ['database' => 4]);
    $c->set('where', 'four');
    same($r->get('where'), null);
    same((string) $r->set('k', 'v', 'EX', 100, 'NX'), 'OK');
    same($r->set('k', 'w', 'NX'), null);
    holds($r->ttl('k') > 95, 'the time to live');
    same($r->incrby('n', 5), 5);
    same($r->mget('k', 'missing'), ['v', null]);
    same(refusal(fn () => $r->incr('k')), 'ERR value is not an integer or out of range');
});

check('streams and groups', function () use ($raw) {
    same((string) $raw('XGROUP', 'CREATE', 'work', 'g', '$', 'MKSTREAM'), 'OK');
    same($raw('XADD', 'work', '1-1', 'n', '1'), '1-1');
    same($raw('XADD', 'work', '1-*', 'n', '2'), '1-2');
    same($raw('XRANGE', 'work', '-', '+'), [['1-1', ['n', '1']], ['1-2', ['n', '2']]]);
    same($raw('XREADGROUP', 'GROUP', 'g', 'alice', 'STREAMS', 'work', '>'), [['work', [['1-1', ['n', '1']], ['1-2', ['n', '2']]]]]);
    same($raw('XACK', 'work', 'g', '1-1'), 1);
    same($raw('XPENDING', 'work', 'g'), [1, '1-2', '1-2', [['alice', '1']]]);
    same($raw('XAUTOCLAIM', 'work', 'g', 'bob', '0', '0'), ['0-0', [['1-2', ['n', '2']]], []]);
    same($raw('XREAD', 'BLOCK', '50', 'STREAMS', 'work', '$'), null);
});

check('a consumer of channels and patterns', function () use ($r, $address) {
    $heard = [];
    $consumer = (new Predis\Client($address))->pubSubLoop(['subscribe' => ['news', 'control'], 'psubscribe' => 'ne*']);
    foreach ($consumer as $message) {
        if ($message->kind === 'psubscribe') {
            same($r->publish('news', 'hello'), 2);
            $r->publish('control', 'stop');
        }
        if (str_ends_with($message->kind, 'message')) {
            $heard[] = [$message->kind, $message->channel, $message->payload];
            if ($message->payload === 'stop') {
                $consumer->stop();
            }
        }
    }
    same($heard, [['message', 'news', 'hello'], ['pmessage', 'news', 'hello'], ['message', 'control', 'stop']]);
    same($r->publish('news', 'nobody'), 0);
});

check('transactions, check and set, pipelines', function () use ($r, $address) {
    [$set, $incr] = $r->transaction(fn ($t) => [$t->set('{m}', 1), $t->incr('{m}')]);
    same([(string) $set, $incr], ['OK', 2]);
    $tries = 0;
    $replies = $r->transaction(['cas' => true, 'watch' => '{m}', 'retry' => 3], function ($t) use (&$tries, $address) {
        $value = $t->get('{m}');
        if ($tries++ === 0) {
            (new Predis\Client($address))->set('{m}', '50');
        }
        $t->multi();
        $t->set('{m}', $value + 1);
    });
    same([$tries, $r->get('{m}'), count($replies)], [2, '51', 1]);
    $replies = $r->pipeline(function ($pipe) {
        for ($n = 0; $n < 1000; $n++) {
            $pipe->incr('counter');
        }
    });
    same($replies, range(1, 1000));
});

check('SCAN by iterator', function () use ($r) {
    for ($n = 0; $n < 250; $n++) {
        $r->set("scan:$n", 'v');
    }
    $found = iterator_to_array(new Predis\Collection\Iterator\Keyspace($r, 'scan:*', 20), false);
    same(count(array_unique($found)), 250);
});

echo "done\n";
