"""Frameworks for Python that talk through Redis: FastStream, Taskiq, Channels, Socket.IO."""

import asyncio
import logging

from checks import HOST, PORT, PROTOCOL, check, run_async, same

# Without a protocol redis-py asks for RESP3 and gives replies the shapes that they have under RESP2, which is what frameworks expect.
URL = f"redis://{HOST}:{PORT}/0" + ("?protocol=2" if PROTOCOL == 2 else "")
logging.disable(logging.CRITICAL)


async def until(condition, what):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"never came: {what}")


@check("FastStream: channels, patterns, streams, groups, requests")
async def _():
    import redis.asyncio as redis
    from faststream.redis import PubSub, RedisBroker, StreamSub

    broker = RedisBroker(URL, logger=None)
    heard = []

    @broker.subscriber("plain")
    async def on_plain(body: str):
        heard.append(("plain", body))
        return f"answer to {body}"

    @broker.subscriber(PubSub("pattern.*", pattern=True))
    async def on_pattern(body: str):
        heard.append(("pattern", body))

    @broker.subscriber(stream=StreamSub("fs-stream", polling_interval=50))
    async def on_stream(body: str):
        heard.append(("stream", body))

    @broker.subscriber(stream=StreamSub("fs-stream", group="workers", consumer="one", polling_interval=50))
    async def on_group(body: str):
        heard.append(("group", body))

    await broker.start()
    try:
        async with redis.Redis.from_url(URL) as r:
            while (await r.info("clients"))["blocked_clients"] < 2 or not (await r.pubsub_numsub("plain"))[0][1]:
                await asyncio.sleep(0.01)
        await broker.publish("a", channel="plain")
        await broker.publish("b", channel="pattern.x")
        await broker.publish("c", stream="fs-stream")
        await until(lambda: len(heard) >= 4, "four messages")
        same(sorted(heard), [("group", "c"), ("pattern", "b"), ("plain", "a"), ("stream", "c")])
        answer = await broker.request("question", channel="plain", timeout=5)
        same(await answer.decode(), "answer to question")

        async with redis.Redis.from_url(URL) as r:
            for _ in range(200):
                if (await r.xpending("fs-stream", "workers"))["pending"] == 0:
                    break
                await asyncio.sleep(0.01)
            same((await r.xpending("fs-stream", "workers"))["pending"], 0, "pending after the handler")
    finally:
        await broker.stop()


@check("Taskiq: tasks over pub/sub, results as keys that expire")
async def _():
    import redis.asyncio as redis
    from taskiq.receiver import Receiver
    from taskiq_redis import PubSubBroker, RedisAsyncResultBackend

    broker = PubSubBroker(URL).with_result_backend(RedisAsyncResultBackend(URL, result_ex_time=60))

    @broker.task(task_name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    broker.is_worker_process = True
    await broker.startup()
    receiver = Receiver(broker, run_startup=False)
    finish = asyncio.Event()
    worker = asyncio.create_task(receiver.listen(finish))
    async with redis.Redis.from_url(URL) as r:
        while not await r.pubsub_channels():
            await asyncio.sleep(0.01)
    try:
        tasks = [await add.kiq(n, 1) for n in range(20)]
        results = [(await task.wait_result(timeout=5, check_interval=0.01)).return_value for task in tasks]
        same(results, [n + 1 for n in range(20)])
    finally:
        finish.set()
        worker.cancel()
        await broker.shutdown()


@check("Channels: the pub/sub channel layer")
async def _():
    from channels_redis.pubsub import RedisPubSubChannelLayer

    one = RedisPubSubChannelLayer(hosts=[URL])
    two = RedisPubSubChannelLayer(hosts=[URL])
    name = await two.new_channel()
    await two.group_add("chat", name)
    await one.group_send("chat", {"type": "chat.message", "text": "hello"})
    same(await asyncio.wait_for(two.receive(name), 5), {"type": "chat.message", "text": "hello"})
    await one.send(name, {"type": "direct", "n": 1})
    same(await asyncio.wait_for(two.receive(name), 5), {"type": "direct", "n": 1})
    await two.group_discard("chat", name)
    await one.flush()
    await two.flush()


@check("python-socketio: emit from one manager to another")
async def _():
    import socketio

    sender = socketio.AsyncRedisManager(URL, write_only=True)
    receiver = socketio.AsyncRedisManager(URL)
    heard = []

    async def on_emit(message):
        heard.append((message["event"], message["data"]))

    receiver._handle_emit = on_emit
    # The server starts its manager with its first connection; here that is done by hand.
    socketio.AsyncServer(client_manager=receiver).manager.initialize()
    for _ in range(200):
        await sender.emit("news", {"n": 1})
        if heard:
            break
        await asyncio.sleep(0.02)
    same(heard[0], ("news", [{"n": 1}]))


asyncio.run(run_async())
