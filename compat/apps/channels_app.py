"""Django Channels: two processes that talk through the pub/sub channel layer."""

import asyncio

from channels_redis.pubsub import RedisPubSubChannelLayer
from checks import check, run_async, same, url


async def receive(layer, name):
    return await asyncio.wait_for(layer.receive(name), 5)


@check("groups and single channels")
async def _():
    one = RedisPubSubChannelLayer(hosts=[url()])
    two = RedisPubSubChannelLayer(hosts=[url()])
    name = await two.new_channel()
    await two.group_add("chat", name)
    await one.group_send("chat", {"type": "chat.message", "text": "hello"})
    same(await receive(two, name), {"type": "chat.message", "text": "hello"})
    await one.send(name, {"type": "direct", "n": 1})
    same(await receive(two, name), {"type": "direct", "n": 1})
    await two.group_discard("chat", name)
    await one.group_send("chat", {"type": "chat.message", "text": "nobody"})
    await one.send(name, {"type": "direct", "n": 2})
    same(await receive(two, name), {"type": "direct", "n": 2}, "nothing of the group in between")
    await one.flush()
    await two.flush()


@check("a room of ten members at two servers, a hundred messages in order")
async def _():
    layers = [RedisPubSubChannelLayer(hosts=[url()], prefix="room") for _ in range(2)]
    members = []
    for n in range(10):
        layer = layers[n % 2]
        members.append((layer, await layer.new_channel()))
        await layer.group_add("room", members[-1][1])
    for n in range(100):
        await layers[0].group_send("room", {"type": "chat.message", "n": n})
    for layer, name in members:
        same([(await receive(layer, name))["n"] for _ in range(100)], list(range(100)))
    for layer in layers:
        await layer.flush()


asyncio.run(run_async())
