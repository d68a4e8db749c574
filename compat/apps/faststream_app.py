"""FastStream: handlers of channels, patterns, streams and groups; requests with replies; what a dead worker left is claimed."""

import asyncio
import logging

import redis.asyncio as redis
from checks import check, run_async, same, until, url
from faststream.redis import PubSub, RedisBroker, StreamSub

logging.disable(logging.CRITICAL)


@check("channels, patterns, streams, groups and requests")
async def _():
    broker = RedisBroker(url(), logger=None)
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
        async with redis.Redis.from_url(url()) as r:

            async def ready():
                subscribed = (await r.pubsub_numsub("plain"))[0][1]
                return subscribed and (await r.info("clients"))["blocked_clients"] >= 2

            await until(ready, "the subscriptions and two blocked readers")
            await broker.publish("a", channel="plain")
            await broker.publish("b", channel="pattern.x")
            await broker.publish("c", stream="fs-stream")
            await until(lambda: len(heard) >= 4, "four messages")
            same(sorted(heard), [("group", "c"), ("pattern", "b"), ("plain", "a"), ("stream", "c")])
            answer = await broker.request("question", channel="plain", timeout=5)
            same(await answer.decode(), "answer to question")

            async def nothing_pending():
                return (await r.xpending("fs-stream", "workers"))["pending"] == 0

            await until(nothing_pending, "nothing pending after the handler")
    finally:
        await broker.stop()


@check("a chain of handlers, each publishing to the stream of the next")
async def _():
    broker = RedisBroker(url(), logger=None)
    done = []

    @broker.subscriber(stream=StreamSub("raw", group="clean", consumer="c", polling_interval=50))
    @broker.publisher(stream=StreamSub("clean", maxlen=1000))
    async def clean(body: str) -> str:
        return body.strip().lower()

    @broker.subscriber(stream=StreamSub("clean", group="count", consumer="c", polling_interval=50))
    async def count(body: str):
        done.append(body)

    await broker.start()
    try:
        for n in range(50):
            await broker.publish(f"  Word{n} ", stream="raw")
        await until(lambda: len(done) == 50, "all fifty at the end of the chain")
        same(done, [f"word{n}" for n in range(50)])
    finally:
        await broker.stop()


@check("a worker claims what another one left pending")
async def _():
    async with redis.Redis.from_url(url()) as r:
        await r.xgroup_create("left", "workers", id="0", mkstream=True)
        producer = RedisBroker(url(), logger=None)
        await producer.start()
        for n in range(3):
            await producer.publish(n, stream="left")
        await producer.stop()
        # The first worker reads and dies before it acknowledges.
        same(len((await r.xreadgroup("workers", "dead", {"left": ">"}))[0][1]), 3)

        broker = RedisBroker(url(), logger=None)
        got = []

        claim = StreamSub("left", group="workers", consumer="alive", min_idle_time=20, polling_interval=50)

        @broker.subscriber(stream=claim)
        async def on_claimed(body: int):
            got.append(body)

        await broker.start()
        try:
            await until(lambda: len(got) >= 3, "the claimed messages")
            same(sorted(set(got)), [0, 1, 2])

            async def nothing_pending():
                return (await r.xpending("left", "workers"))["pending"] == 0

            await until(nothing_pending, "everything acknowledged")
        finally:
            await broker.stop()


asyncio.run(run_async())
