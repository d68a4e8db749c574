"""redis-py, synchronous: what an application with it does."""

import threading
import time

import redis
from checks import HOST, PORT, PROTOCOL, check, holds, run, same


def client(**options):
    return redis.Redis(host=HOST, port=PORT, protocol=PROTOCOL, decode_responses=True, socket_timeout=10, **options)


r = client()


def entries_of(reply, key):
    """The entries of one stream in a reply of XREAD or XREADGROUP, whichever shape the protocol gives it."""
    if isinstance(reply, dict):
        found = reply.get(key, [])
        return found[0] if found and isinstance(found[0], list) else found
    return dict(reply).get(key, [])


def pairs(entries):
    return [(entry[0], entry[1]) for entry in entries]


@check("connect with name and database")
def _():
    c = client(db=3, client_name="clerk")
    same(c.client_getname(), "clerk")
    info = c.client_info()
    same(int(info["db"]), 3, "db")
    same(c.ping(), True)
    c.set("where", "three")
    same(r.get("where"), None, "the key in database 0")
    c.close()


@check("from a URL, without decoding")
def _():
    c = redis.Redis.from_url(f"redis://{HOST}:{PORT}/1?protocol={PROTOCOL}")
    binary = bytes(range(256))
    c.set(b"\x00\xff", binary)
    same(c.get(b"\x00\xff"), binary)
    c.close()


@check("INFO, CONFIG GET, COMMAND, TIME")
def _():
    info = r.info()
    holds(isinstance(info["redis_version"], str), "redis_version")
    same(info["role"], "master")
    same(info["loading"], 0)
    same(r.config_get("databases"), {"databases": "16"})
    same(r.config_get("no-such-setting"), {})
    commands = r.command()
    same(commands["xadd"]["arity"], -5, "arity of XADD")
    holds(r.command_count() == len(commands), "COMMAND COUNT")
    seconds, _microseconds = r.time()
    holds(abs(seconds - time.time()) < 60, "TIME")


@check("XADD, XRANGE, XREVRANGE, XLEN")
def _():
    first = r.xadd("s", {"name": "ada"})
    second = r.xadd("s", {"name": "grace", "city": "new york"})
    same(r.xadd("s2", {"a": "1"}, id="5-5"), "5-5")
    same(r.xlen("s"), 2)
    same(pairs(r.xrange("s")), [(first, {"name": "ada"}), (second, {"name": "grace", "city": "new york"})])
    same(pairs(r.xrevrange("s", count=1)), [(second, {"name": "grace", "city": "new york"})])
    same(pairs(r.xrange("s", min=f"({first}")), [(second, {"name": "grace", "city": "new york"})])
    same(r.xrange("no-such-stream"), [])
    same(r.xadd("no-such-stream", {"a": "b"}, nomkstream=True), None)
    try:
        r.xadd("s2", {"a": "1"}, id="5-5")
        holds(False, "an id that is too small was taken")
    except redis.ResponseError as error:
        holds("equal or smaller" in str(error), str(error))


@check("XREAD over two streams")
def _():
    r.xadd("x1", {"n": "1"}, id="1-1")
    r.xadd("x2", {"n": "2"}, id="2-2")
    reply = r.xread({"x1": "0", "x2": "0"}, count=10)
    same(pairs(entries_of(reply, "x1")), [("1-1", {"n": "1"})])
    same(pairs(entries_of(reply, "x2")), [("2-2", {"n": "2"})])
    holds(not r.xread({"x1": "$"}), "nothing to read")


@check("XTRIM, XDEL, MAXLEN, MINID")
def _():
    for n in range(1, 11):
        r.xadd("t", {"n": n}, id=f"{n}-0")
    same(r.xdel("t", "5-0", "99-0"), 1)
    same(r.xtrim("t", maxlen=6, approximate=False), 3)
    same(r.xtrim("t", minid="7-0", approximate=False), 2)
    same([entry[0] for entry in r.xrange("t")], ["7-0", "8-0", "9-0", "10-0"])
    r.xadd("t", {"n": 11}, id="11-0", maxlen=2, approximate=False)
    same([entry[0] for entry in r.xrange("t")], ["10-0", "11-0"])
    for n in range(1000):
        r.xadd("approximately", {"n": n}, maxlen=100, approximate=True)
    holds(100 <= r.xlen("approximately") < 300, f"length {r.xlen('approximately')}")


@check("XINFO STREAM, GROUPS, CONSUMERS")
def _():
    r.xadd("i", {"n": 1}, id="1-0")
    r.xadd("i", {"n": 2}, id="2-0")
    r.xgroup_create("i", "g", id="0")
    r.xreadgroup("g", "alice", {"i": ">"}, count=1)
    info = r.xinfo_stream("i")
    same(info["length"], 2)
    same(info["last-generated-id"], "2-0")
    same(info["entries-added"], 2)
    same(info["groups"], 1)
    same(tuple(info["first-entry"]), ("1-0", {"n": "1"}))
    full = r.xinfo_stream("i", full=True)
    same(len(full["entries"]), 2, "entries of FULL")
    same(full["groups"][0]["name"], "g")
    (group,) = r.xinfo_groups("i")
    same((group["name"], group["consumers"], group["pending"], group["last-delivered-id"]), ("g", 1, 1, "1-0"))
    same((group["entries-read"], group["lag"]), (1, 1))
    (consumer,) = r.xinfo_consumers("i", "g")
    same((consumer["name"], consumer["pending"]), ("alice", 1))


@check("a group from XGROUP CREATE to XACK")
def _():
    same(r.xgroup_create("work", "g", id="$", mkstream=True), True)
    try:
        r.xgroup_create("work", "g")
        holds(False, "a group was made twice")
    except redis.ResponseError as error:
        holds(str(error).startswith("BUSYGROUP") or "already exists" in str(error), str(error))
    ids = [r.xadd("work", {"n": n}) for n in range(3)]
    got = entries_of(r.xreadgroup("g", "c1", {"work": ">"}, count=2), "work")
    same([entry[0] for entry in got], ids[:2])
    same([entry[0] for entry in entries_of(r.xreadgroup("g", "c1", {"work": "0"}), "work")], ids[:2], "history")
    same(r.xack("work", "g", ids[0]), 1)
    same(r.xack("work", "g", ids[0]), 0)
    summary = r.xpending("work", "g")
    same((summary["pending"], summary["min"], summary["max"]), (1, ids[1], ids[1]))
    same(summary["consumers"], [{"name": "c1", "pending": 1}])
    (row,) = r.xpending_range("work", "g", min="-", max="+", count=10)
    same((row["message_id"], row["consumer"], row["times_delivered"]), (ids[1], "c1", 2), "read twice: new, then from the history")
    same([entry[0] for entry in r.xclaim("work", "g", "c2", 0, [ids[1]])], [ids[1]])
    same(r.xclaim("work", "g", "c2", 0, [ids[1]], justid=True), [ids[1]])
    same(r.xgroup_delconsumer("work", "g", "c2"), 1)
    same(r.xgroup_createconsumer("work", "g", "c3"), 1)
    same(r.xgroup_setid("work", "g", "0"), True)
    same(r.xgroup_destroy("work", "g"), 1)
    try:
        r.xreadgroup("g", "c1", {"work": ">"})
        holds(False, "a group that is gone was read")
    except redis.ResponseError as error:
        holds("NOGROUP" in str(error) or "No such key" in str(error), str(error))


@check("XAUTOCLAIM over pages, deleted entries named")
def _():
    r.xgroup_create("auto", "g", id="0", mkstream=True)
    for n in range(1, 6):
        r.xadd("auto", {"n": n}, id=f"{n}-0")
    r.xreadgroup("g", "dead", {"auto": ">"})
    r.xdel("auto", "2-0")
    cursor, taken, gone = "0-0", [], []
    for _page in range(10):
        reply = r.xautoclaim("auto", "g", "alive", min_idle_time=0, start_id=cursor, count=2)
        cursor = reply[0]
        taken += [entry[0] for entry in reply[1]]
        gone += list(reply[2])
        if cursor == "0-0":
            break
    same(taken, ["1-0", "3-0", "4-0", "5-0"])
    same(gone, ["2-0"])
    same(r.xautoclaim("auto", "g", "other", min_idle_time=3_600_000)[1], [])


@check("XREADGROUP with NOACK leaves nothing pending")
def _():
    r.xgroup_create("noack", "g", id="0", mkstream=True)
    r.xadd("noack", {"n": 1})
    same(len(entries_of(r.xreadgroup("g", "c", {"noack": ">"}, noack=True), "noack")), 1)
    same(r.xpending("noack", "g")["pending"], 0)


@check("blocking reads time out")
def _():
    r.xgroup_create("quiet", "g", id="$", mkstream=True)
    start = time.monotonic()
    holds(not r.xread({"quiet": "$"}, block=80), "XREAD found something")
    holds(not r.xreadgroup("g", "c", {"quiet": ">"}, block=80), "XREADGROUP found something")
    took = time.monotonic() - start
    holds(0.15 < took < 5, f"took {took:.3f} s")


@check("consumers that block share the work of a producer")
def _():
    r.xgroup_create("jobs", "g", id="$", mkstream=True)
    seen, lock = [], threading.Lock()

    def consume(name):
        c = client()
        while True:
            got = entries_of(c.xreadgroup("g", name, {"jobs": ">"}, count=5, block=5000), "jobs")
            for entry_id, fields in pairs(got):
                c.xack("jobs", "g", entry_id)
                if fields["n"] == "stop":
                    return
                with lock:
                    seen.append(int(fields["n"]))

    consumers = [threading.Thread(target=consume, args=(f"c{n}",)) for n in range(3)]
    for consumer in consumers:
        consumer.start()
    for n in range(200):
        r.xadd("jobs", {"n": n})
    for consumer in consumers:
        consumer.join(timeout=0.01)
    alive = [consumer for consumer in consumers if consumer.is_alive()]
    deadline = time.monotonic() + 10
    while alive and time.monotonic() < deadline:
        r.xadd("jobs", {"n": "stop"})
        time.sleep(0.02)
        alive = [consumer for consumer in consumers if consumer.is_alive()]
    same(alive, [], "consumers still waiting")
    same(sorted(seen), list(range(200)), "each job once")


def next_message(p):
    end = time.monotonic() + 5
    while time.monotonic() < end:
        message = p.get_message(timeout=0.5)
        if message is not None:
            return message["type"], message.get("pattern"), message["channel"], message["data"]
    raise AssertionError("no message came")


@check("SUBSCRIBE, PSUBSCRIBE, PUBLISH")
def _():
    p = r.pubsub()
    p.subscribe("news")
    same(next_message(p), ("subscribe", None, "news", 1))
    p.psubscribe("ne*")
    same(next_message(p), ("psubscribe", None, "ne*", 2))
    same(r.publish("news", "hello"), 2)
    same(next_message(p), ("message", None, "news", "hello"))
    same(next_message(p), ("pmessage", "ne*", "news", "hello"))
    same(r.pubsub_numsub("news", "olds"), [("news", 1), ("olds", 0)])
    same(r.pubsub_channels("n*"), ["news"])
    same(r.pubsub_numpat(), 1)
    if PROTOCOL == 2:  # Under RESP3 the answer is a plain string, which redis-py cannot tell from a message.
        p.ping("are you there")
        same(next_message(p)[0], "pong")
    p.unsubscribe()
    same(next_message(p), ("unsubscribe", None, "news", 1))
    p.punsubscribe()
    same(next_message(p), ("punsubscribe", None, "ne*", 0))
    p.close()
    same(r.publish("news", "nobody"), 0)


@check("SSUBSCRIBE, SPUBLISH")
def _():
    p = r.pubsub()
    p.execute_command("SSUBSCRIBE", "shard")
    same(p.parse_response()[1:], ["shard", 1])
    same(r.execute_command("SPUBLISH", "shard", "hi"), 1)
    same(p.parse_response(), ["smessage", "shard", "hi"])
    same(r.execute_command("PUBSUB", "SHARDNUMSUB", "shard")[1], 1)
    p.close()


@check("a listener thread gets every message in order")
def _():
    p = r.pubsub(ignore_subscribe_messages=True)
    heard = []
    p.subscribe(**{"feed": lambda message: heard.append(int(message["data"]))})
    p.get_message(timeout=1)
    thread = p.run_in_thread(sleep_time=0.01)
    with r.pipeline(transaction=False) as pipe:
        for n in range(500):
            pipe.publish("feed", n)
        same(pipe.execute(), [1] * 500)
    deadline = time.monotonic() + 5
    while len(heard) < 500 and time.monotonic() < deadline:
        time.sleep(0.01)
    thread.stop()
    thread.join()
    same(heard, list(range(500)))


@check("MULTI and EXEC")
def _():
    with r.pipeline(transaction=True) as pipe:
        pipe.set("m", 1)
        pipe.incr("m")
        pipe.xadd("m-stream", {"a": "b"}, id="1-1")
        pipe.xlen("m-stream")
        same(pipe.execute(), [True, 2, "1-1", 1])
    with r.pipeline(transaction=True) as pipe:
        pipe.set("word", "abc")
        pipe.incr("word")
        pipe.set("after", "still done")
        replies = pipe.execute(raise_on_error=False)
    holds(isinstance(replies[1], redis.ResponseError), "the command that fails")
    same(r.get("after"), "still done")


@check("WATCH: a conflict is noticed, a retry succeeds")
def _():
    r.set("balance", 10)
    with r.pipeline() as pipe:
        pipe.watch("balance")
        value = int(pipe.get("balance"))
        r.set("balance", 50)
        pipe.multi()
        pipe.set("balance", value + 1)
        try:
            pipe.execute()
            holds(False, "the conflict was not noticed")
        except redis.WatchError:
            pass
    same(r.get("balance"), "50")
    r.transaction(lambda pipe: (value := int(pipe.get("balance")), pipe.multi(), pipe.set("balance", value + 1)), "balance")
    same(r.get("balance"), "51")


@check("strings and expiry")
def _():
    same(r.set("k", "v", ex=100), True)
    holds(95 <= r.ttl("k") <= 100, "ttl")
    same(r.set("k", "w", keepttl=True), True)
    holds(r.pttl("k") > 90_000, "pttl")
    same(r.persist("k"), True)
    same(r.ttl("k"), -1)
    same(r.ttl("no-such-key"), -2)
    same(r.set("k", "x", xx=True, get=True), "w")
    same(r.set("k", "y", nx=True), None)
    same(r.getex("k", px=50_000), "x")
    same(r.getdel("k"), "x")
    same(r.setnx("k", "z"), True)
    same(r.append("k", "zz"), 3)
    same(r.strlen("k"), 3)
    same(r.incr("n", 5), 5)
    same(r.decr("n"), 4)
    same(r.incrbyfloat("f", 1.5), 1.5)
    same(r.mset({"a": "1", "b": "2"}), True)
    same(r.mget("a", "missing", "b"), ["1", None, "2"])
    r.psetex("brief", 20, "v")
    deadline = time.monotonic() + 5
    while r.exists("brief") and time.monotonic() < deadline:
        time.sleep(0.005)
    same(r.get("brief"), None)
    same(r.expireat("a", int(time.time()) - 10), True)
    same(r.exists("a", "b"), 1)
    same(r.type("b"), "string")
    same(r.rename("b", "c"), True)
    same(r.delete("c", "missing"), 1)


@check("a pipeline of a thousand, replies in order")
def _():
    with r.pipeline(transaction=False) as pipe:
        for n in range(1000):
            pipe.incr("counter")
            pipe.get("counter")
        replies = pipe.execute()
    same(replies[0::2], list(range(1, 1001)))
    same(replies[1::2], [str(n) for n in range(1, 1001)])


@check("SCAN with MATCH and TYPE")
def _():
    with r.pipeline(transaction=False) as pipe:
        for n in range(250):
            pipe.set(f"scan:{n}", n)
            pipe.xadd(f"scan-stream:{n}", {"n": n}) if n % 10 == 0 else None
        pipe.execute()
    same(set(r.scan_iter(match="scan:*", count=20)), {f"scan:{n}" for n in range(250)})
    same(set(r.scan_iter(match="scan*", _type="stream")), {f"scan-stream:{n}" for n in range(0, 250, 10)})


@check("a lock by SET NX PX, released only by its owner")
def _():
    same(r.set("lock", "mine", nx=True, px=30_000), True)
    same(r.set("lock", "theirs", nx=True, px=30_000), None)

    def release(token):
        def body(pipe):
            held = pipe.get("lock") == token
            pipe.multi()
            if held:
                pipe.delete("lock")

        return r.transaction(body, "lock")

    same(release("theirs"), [])
    same(release("mine"), [1])
    same(r.set("lock", "theirs", nx=True, px=30_000), True)


@check("reconnects after CLIENT KILL")
def _():
    c = client(client_name="victim", retry=redis.retry.Retry(redis.backoff.NoBackoff(), 3))
    victim = c.client_id()
    same(r.client_kill_filter(_id=victim), 1)
    same(c.ping(), True)
    same(c.client_getname(), "victim")
    holds(c.client_id() != victim, "still the same connection")


@check("a subscriber subscribes again after CLIENT KILL")
def _():
    c = client(client_name="listener", retry=redis.retry.Retry(redis.backoff.NoBackoff(), 3))
    p = c.pubsub(ignore_subscribe_messages=True)
    p.subscribe("after-kill")
    p.get_message(timeout=1)
    (victim,) = [row for row in r.client_list(_type="pubsub") if row["name"] == "listener"]
    r.client_kill_filter(_id=victim["id"])
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        message = p.get_message(timeout=0.05)
        if message:
            break
        r.publish("after-kill", "again")
    holds(message and message["data"] == "again", "no message after the reconnect")


@check("UNBLOCK from beside")
def _():
    c = client()
    waiting = c.client_id()
    result = []
    thread = threading.Thread(target=lambda: result.append(c.xread({"never": "$"}, block=8000)))
    thread.start()
    deadline = time.monotonic() + 5
    while not r.client_unblock(waiting) and time.monotonic() < deadline:
        time.sleep(0.01)
    thread.join(timeout=5)
    holds(len(result) == 1 and not result[0], f"result {result}")


@check("errors have the classes that redis-py knows")
def _():
    r.set("string", "v")
    for wrong in (lambda: r.xadd("string", {"a": "b"}), lambda: r.execute_command("FROBNICATE"), lambda: r.xlen()):
        try:
            wrong()
            holds(False, "no error")
        except (redis.ResponseError, TypeError):
            pass


@check("FLUSHDB only in its database")
def _():
    other = client(db=7)
    other.set("x", 1)
    same(other.dbsize(), 1)
    r.set("stays", 1)
    same(other.flushdb(), True)
    same(other.dbsize(), 0)
    same(r.exists("stays"), 1)
    other.close()


run()
