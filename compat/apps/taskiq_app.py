"""Taskiq: tasks over the pub/sub broker, results as keys that expire."""

import asyncio
import logging

import redis.asyncio as redis
from checks import check, holds, run_async, same, until, url
from taskiq.receiver import Receiver
from taskiq_redis import PubSubBroker, RedisAsyncResultBackend

logging.disable(logging.CRITICAL)


@check("twenty tasks and their results")
async def _():
    broker = PubSubBroker(url()).with_result_backend(RedisAsyncResultBackend(url(), result_ex_time=60))

    @broker.task(task_name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    @broker.task(task_name="fail")
    async def fail() -> None:
        raise ValueError("on purpose")

    broker.is_worker_process = True
    await broker.startup()
    worker = asyncio.create_task(Receiver(broker, run_startup=False).listen(asyncio.Event()))
    async with redis.Redis.from_url(url()) as r:
        await until(r.pubsub_channels, "the subscription of the worker")
        try:
            tasks = [await add.kiq(n, 1) for n in range(20)]
            results = [(await task.wait_result(timeout=5, check_interval=0.01)).return_value for task in tasks]
            same(results, [n + 1 for n in range(20)])
            holds(0 < await r.ttl(tasks[0].task_id) <= 60, "a result that expires")
            result = await (await fail.kiq()).wait_result(timeout=5, check_interval=0.01)
            same((result.is_err, str(result.error)), (True, "on purpose"))
        finally:
            worker.cancel()
            await broker.shutdown()


asyncio.run(run_async())
