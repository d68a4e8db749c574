"""python-socketio: servers and a process that only emits, joined by the Redis manager; one manager for asyncio, one for threads."""

import asyncio

import redis.asyncio as redis
import socketio
from aiohttp import web
from checks import HOST, check, run_async, same, until, url


async def server():
    """A Socket.IO server of its own with the Redis manager; gives its address."""
    sio = socketio.AsyncServer(client_manager=socketio.AsyncRedisManager(url()), async_mode="aiohttp")

    @sio.event
    async def join(sid, room):
        await sio.enter_room(sid, room)
        return "joined"

    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    return sio, runner, f"http://{HOST}:{site._server.sockets[0].getsockname()[1]}"


async def client(address):
    made = socketio.AsyncClient()
    heard = []
    made.on("news", lambda *words: heard.append(words))
    await made.connect(address, transports=["websocket"])
    return made, heard


@check("rooms and broadcasts over two servers, and from a process without clients")
async def _():
    one, two = await server(), await server()
    (a, a_heard), (b, b_heard) = await client(one[2]), await client(two[2])
    try:
        async with redis.Redis.from_url(url()) as r:

            async def both():
                return (await r.pubsub_numsub("socketio"))[0][1] == 2

            await until(both, "both servers to listen")
        same(await b.call("join", "sports"), "joined")
        await one[0].emit("news", "goal", room="sports")
        await until(lambda: b_heard, "the message to a room of the other server")
        same((a_heard, b_heard), ([], [("goal",)]))
        emitter = socketio.AsyncRedisManager(url(), write_only=True)
        for n in range(20):
            await emitter.emit("news", n)
        await until(lambda: len(a_heard) == 20 and len(b_heard) == 21, "twenty broadcasts to both")
        same(a_heard, [(n,) for n in range(20)])
        threaded = socketio.RedisManager(url(), write_only=True)
        await asyncio.to_thread(threaded.emit, "news", {"bytes": b"\x00\xff"}, room="sports")
        await until(lambda: len(b_heard) == 22, "the message of the other kind of manager")
        same(b_heard[-1], ({"bytes": b"\x00\xff"},))
    finally:
        await a.disconnect()
        await b.disconnect()
        for _, runner, _ in (one, two):
            await runner.cleanup()


asyncio.run(run_async())
