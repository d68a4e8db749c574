"""redis-py and what streams have gained since Redis 8.2: policies on references, XNACK, claiming reads, idempotent producers."""

import threading

import redis
from checks import HOST, PORT, PROTOCOL, check, run, same, skip

r = redis.Redis(host=HOST, port=PORT, protocol=PROTOCOL, decode_responses=True, socket_timeout=10)


def needs(command, option=""):
    """Skips the check when the server does not know the command or its option."""
    known = str(r.execute_command("COMMAND DOCS", command)).lower()
    if command not in known or option not in known:
        skip(f"{command.upper()} {option.upper()}".strip() + " is not known")


def entries(reply, key):
    """The entries of one stream in a reply of XREADGROUP, whichever shape the protocol gives it."""
    found = dict(reply or {}).get(key, [])
    return found[0] if found and isinstance(found[0], list) and found[0] and isinstance(found[0][0], (list, tuple)) else found


def group(key, count, read):
    """A stream with a group of which `alice` has read the first entries."""
    r.xgroup_create(key, "g", id="0", mkstream=True)
    for n in range(1, count + 1):
        r.xadd(key, {"n": n}, id=f"{n}-0")
    r.xreadgroup("g", "alice", {key: ">"}, count=read)


def ids(key):
    return [entry[0] for entry in r.xrange(key)]


@check("XDELEX: three policies on what groups still refer to")
def _():
    needs("xdelex")
    group("del", 5, 3)
    r.xack("del", "g", "1-0")
    same(r.xdelex("del", "1-0", "2-0", "5-0", "9-0", ref_policy="ACKED"), [1, 2, 2, -1])
    same(r.xdelex("del", "2-0", ref_policy="KEEPREF"), [1])
    same(r.xpending("del", "g")["pending"], 2, "the reference is kept")
    same(r.xdelex("del", "2-0", "3-0", ref_policy="DELREF"), [-1, 1])
    same(ids("del"), ["4-0", "5-0"])
    same(r.xpending("del", "g")["pending"], 0, "the references are gone")
    same(r.xdelex("missing", "1-0"), [-1])


@check("XACKDEL: acknowledge and delete in one")
def _():
    needs("xackdel")
    group("ack", 3, 2)
    r.xgroup_create("ack", "audit", id="0")
    same(r.xackdel("ack", "g", "1-0", "3-0", ref_policy="ACKED"), [2, -1], "the other group has not had it")
    same(r.xackdel("ack", "g", "2-0", ref_policy="DELREF"), [1])
    same((ids("ack"), r.xpending("ack", "g")["pending"]), (["1-0", "3-0"], 0))


@check("XADD and XTRIM keep what is not acknowledged")
def _():
    needs("xtrim", "acked")
    group("trim", 5, 2)
    r.xack("trim", "g", "1-0")
    r.xadd("trim", {"n": 6}, id="6-0", maxlen=1, approximate=False, ref_policy="ACKED")
    same(ids("trim"), ["2-0", "3-0", "4-0", "5-0", "6-0"])
    same(r.xtrim("trim", maxlen=2, approximate=False, ref_policy="DELREF"), 3)
    same((ids("trim"), r.xpending("trim", "g")["pending"]), (["5-0", "6-0"], 0))


@check("XNACK gives an entry back; a claiming read takes it")
def _():
    needs("xnack")
    needs("xreadgroup", "claim")
    group("nack", 3, 2)
    same(r.xnack("nack", "g", "FAIL", "1-0", "9-0"), 1)
    [row] = r.xpending_range("nack", "g", "1-0", "1-0", 10)
    same((row["consumer"], row["times_delivered"]), ("", 1))
    reply = entries(r.xreadgroup("g", "bob", {"nack": ">"}, claim_min_idle_time=60_000), "nack")
    same([entry[0] for entry in reply], ["1-0", "3-0"], "first what was given back, then what is new")
    rows = r.xpending_range("nack", "g", "-", "+", 10)
    owners = [(row["message_id"], row["consumer"], row["times_delivered"]) for row in rows]
    same(owners, [("1-0", "bob", 2), ("2-0", "alice", 1), ("3-0", "bob", 1)])


@check("a claiming read that blocks is woken by XNACK and by time")
def _():
    needs("xnack")
    needs("xreadgroup", "claim")
    group("wake", 1, 1)
    got = []

    def read(consumer, idle):
        with redis.Redis(host=HOST, port=PORT, protocol=PROTOCOL, decode_responses=True, socket_timeout=15) as c:
            got.append(entries(c.xreadgroup("g", consumer, {"wake": ">"}, block=10_000, claim_min_idle_time=idle), "wake"))

    thread = threading.Thread(target=read, args=("bob", 3_600_000))
    thread.start()
    while r.info("clients")["blocked_clients"] < 1:
        pass
    same(r.xnack("wake", "g", "SILENT", "1-0"), 1)
    thread.join()
    same([entry[0] for entry in got[0]], ["1-0"])
    read("carol", 50)
    same([entry[0] for entry in got[1]], ["1-0"], "idle for 50 ms meanwhile")


@check("MAXCOUNT and MAXSIZE bound a reply over all streams")
def _():
    needs("xread", "maxcount")
    for key in ("max-a", "max-b", "max-c"):
        for n in range(1, 6):
            r.xadd(key, {"n": "x" * 100}, id=f"{n}-0")
    streams = {"max-a": "0", "max-b": "0", "max-c": "0"}
    got = r.xread(streams, count=4, max_count=6)
    same([(key, len(entries(got, key))) for key in streams], [("max-a", 4), ("max-b", 2), ("max-c", 0)])
    got = r.xread(streams, max_size=1)
    same([(key, len(entries(got, key))) for key in streams], [("max-a", 1), ("max-b", 0), ("max-c", 0)])


@check("a producer that repeats itself adds once")
def _():
    needs("xadd", "idmp")
    needs("xcfgset")
    first = r.xadd("once", {"order": "7"}, idmp=("shop", b"order-7"))
    same(r.xadd("once", {"order": "7"}, idmp=("shop", b"order-7")), first)
    other = r.xadd("once", {"order": "7"}, idmp=("branch", b"order-7"))
    same((other != first, r.xlen("once")), (True, 2))
    auto = r.xadd("once", {"a": "1", "b": "2"}, idmpauto="shop")
    same(r.xadd("once", {"b": "2", "a": "1"}, idmpauto="shop"), auto)
    info = r.xinfo_stream("once")
    same((info["pids-tracked"], info["iids-tracked"], info["iids-added"], info["iids-duplicates"]), (2, 3, 3, 2))
    same(r.xcfgset("once", idmp_duration=10, idmp_maxsize=5), "OK")
    info = r.xinfo_stream("once")
    same((info["idmp-duration"], info["idmp-maxsize"], info["iids-tracked"]), (10, 5, 0))


run()
