"""redis-py, asyncio: the same jobs on one event loop."""

import asyncio
import time

import redis.asyncio as redis
from checks import HOST, PORT, PROTOCOL, check, holds, run_async, same


def client(**options):
    return redis.Redis(host=HOST, port=PORT, protocol=PROTOCOL, decode_responses=True, **options)


r = None


def entries_of(reply, key):
    if isinstance(reply, dict):
        found = reply.get(key, [])
        return found[0] if found and isinstance(found[0], list) else found
    return dict(reply).get(key, [])


@check("connect with name and database")
async def _():
    c = client(db=2, client_name="clerk")
    same(await c.client_getname(), "clerk")
    same(int((await c.client_info())["db"]), 2)
    await c.aclose()


@check("INFO and CONFIG GET")
async def _():
    info = await r.info("server")
    holds("redis_version" in info, "redis_version")
    same(await r.config_get("databases"), {"databases": "16"})


@check("streams")
async def _():
    ids = [await r.xadd("s", {"n": n}) for n in range(5)]
    same(ids, sorted(ids, key=lambda one: tuple(map(int, one.split("-")))), "ids rise")
    same([entry[0] for entry in await r.xrange("s")], ids)
    same([entry[0] for entry in entries_of(await r.xread({"s": ids[2]}), "s")], ids[3:])
    same(await r.xdel("s", ids[0]), 1)
    same(await r.xtrim("s", maxlen=2, approximate=False), 2)
    same((await r.xinfo_stream("s"))["length"], 2)


@check("concurrent writers on one pool")
async def _():
    ids = await asyncio.gather(*(r.xadd("many", {"n": n}) for n in range(80)))
    same(len(set(ids)), 80)
    same(await r.xlen("many"), 80)


@check("groups: read, pending, claim, acknowledge")
async def _():
    await r.xgroup_create("g-stream", "g", id="0", mkstream=True)
    ids = [await r.xadd("g-stream", {"n": n}) for n in range(4)]
    got = entries_of(await r.xreadgroup("g", "a", {"g-stream": ">"}, count=3), "g-stream")
    same([entry[0] for entry in got], ids[:3])
    same(await r.xack("g-stream", "g", *ids[:2]), 2)
    same((await r.xpending("g-stream", "g"))["pending"], 1)
    reply = await r.xautoclaim("g-stream", "g", "b", min_idle_time=0)
    same([entry[0] for entry in reply[1]], ids[2:3])
    same([entry[0] for entry in await r.xclaim("g-stream", "g", "c", 0, [ids[2]])], ids[2:3])
    same((await r.xinfo_groups("g-stream"))[0]["pending"], 1)


@check("blocking reads: time out, then wake")
async def _():
    start = time.monotonic()
    holds(not await r.xread({"quiet": "$"}, block=80), "found something")
    holds(time.monotonic() - start > 0.07, "came back early")
    await r.xgroup_create("wake", "g", id="$", mkstream=True)
    reader = asyncio.create_task(r.xreadgroup("g", "c", {"wake": ">"}, block=8000))
    while (await r.info("clients"))["blocked_clients"] < 1:
        await asyncio.sleep(0.005)
    entry_id = await r.xadd("wake", {"n": 1})
    same(entries_of(await reader, "wake")[0][0], entry_id)


@check("pub/sub with async iteration")
async def _():
    async with r.pubsub() as p:
        await p.subscribe("news")
        await p.psubscribe("ne?s")
        heard = []

        async def listen():
            async for message in p.listen():
                if message["type"] in ("message", "pmessage"):
                    heard.append((message["type"], message["data"]))
                    if len(heard) == 4:
                        return

        task = asyncio.create_task(listen())
        while await r.publish("news", "first") != 2:
            await asyncio.sleep(0.005)
        same(await r.publish("news", "second"), 2)
        await asyncio.wait_for(task, 5)
        holds(("message", "second") in heard and ("pmessage", "second") in heard, str(heard))


@check("MULTI, WATCH")
async def _():
    async with r.pipeline(transaction=True) as pipe:
        same(await pipe.set("a", 1).incr("a").xadd("a-stream", {"f": "v"}, id="1-1").execute(), [True, 2, "1-1"])
    async with r.pipeline() as pipe:
        await pipe.watch("a")
        await r.set("a", 100)
        pipe.multi()
        pipe.set("a", 5)
        try:
            await pipe.execute()
            holds(False, "the conflict was not noticed")
        except redis.WatchError:
            pass
    same(await r.get("a"), "100")


@check("pipeline, SCAN, expiry, lock")
async def _():
    async with r.pipeline(transaction=False) as pipe:
        for n in range(300):
            pipe.set(f"k:{n}", n, px=60_000)
        same(len(await pipe.execute()), 300)
    same(len({key async for key in r.scan_iter(match="k:*", count=50)}), 300)
    holds(0 < await r.pttl("k:0") <= 60_000, "pttl")
    same(await r.set("lock", "me", nx=True, px=5000), True)
    same(await r.set("lock", "you", nx=True, px=5000), None)


@check("reconnects after CLIENT KILL")
async def _():
    c = client(single_connection_client=False, client_name="victim")
    victim = await c.client_id()
    same(await r.client_kill_filter(_id=victim), 1)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            same(await c.ping(), True)
            break
        except redis.ConnectionError:
            continue
    holds(await c.client_id() != victim, "still the same connection")
    await c.aclose()


async def main():
    global r
    r = client()
    await run_async()
    await r.aclose()


asyncio.run(main())
