"""broadcaster: its stream backend, with which Starlette and FastAPI applications pass events between processes."""

import asyncio

from broadcaster import Broadcast
from checks import check, run_async, same, url

stream = url().replace("redis://", "redis-stream://")


async def events(subscriber, count):
    got = []
    async for event in subscriber:
        got.append((event.channel, event.message))
        if len(got) == count:
            return got


@check("what one process publishes all subscribers of the others get")
async def _():
    async with Broadcast(stream) as here, Broadcast(stream) as there:
        async with here.subscribe("chat") as first, there.subscribe("chat") as second, there.subscribe("other") as other:
            for n in range(20):
                await here.publish("chat", str(n))
            await there.publish("other", "else")
            expected = [("chat", str(n)) for n in range(20)]
            same(await asyncio.wait_for(events(first, 20), 10), expected)
            same(await asyncio.wait_for(events(second, 20), 10), expected)
            same(await asyncio.wait_for(events(other, 1), 10), [("other", "else")])


@check("a subscriber that comes later gets only what comes after it")
async def _():
    async with Broadcast(stream) as here:
        await here.publish("late", "before")
        async with here.subscribe("late") as subscriber:
            await here.publish("late", "after")
            same(await asyncio.wait_for(events(subscriber, 1), 10), [("late", "after")])


asyncio.run(run_async())
