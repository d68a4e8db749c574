"""prometheus-redis-exporter: what Prometheus scrapes from it about streams, groups, consumers, keys, commands and clients."""

import re
import socket
import subprocess
import time
import urllib.request

import redis
from checks import HOST, PORT, check, holds, run, same, skip

r = redis.Redis(host=HOST, port=PORT, protocol=2, decode_responses=True)
r.xgroup_create("orders", "workers", id="0", mkstream=True)
for n in range(1, 6):
    r.xadd("orders", {"n": n}, id=f"{n}-0")
r.xreadgroup("workers", "alice", {"orders": ">"}, count=3)
r.xreadgroup("workers", "bob", {"orders": ">"}, count=1)
r.xack("orders", "workers", "1-0")
r.set("greeting", "hello", ex=1000)

# Everything is slow, so that there is something to tell of.
slow_log = "slowlog" in str(r.execute_command("COMMAND DOCS", "slowlog")).lower()
if slow_log:
    r.config_set("slowlog-log-slower-than", 0)

with socket.socket() as probe:
    probe.bind((HOST, 0))
    port = probe.getsockname()[1]
exporter = subprocess.Popen(
    [
        "prometheus-redis-exporter",
        f"-web.listen-address={HOST}:{port}",
        f"-redis.addr=redis://{HOST}:{PORT}",
        "-check-streams=ord*",
        "-check-single-keys=greeting",
        "-export-client-list",
        "-include-config-metrics",
        "-include-system-metrics",
    ],
)


def scrape():
    end = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
                break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
    found = {}
    for name, labels, value in re.findall(r"^(redis_\w+)(?:\{(.*)\})? (\S+)$", text, re.M):
        found[name, frozenset(re.findall(r'(\w+)="([^"]*)"', labels))] = float(value)
    return found


try:
    metrics = scrape()
finally:
    exporter.terminate()
    exporter.wait()


def value(name, **labels):
    """The one figure of that name whose labels include these."""
    wanted = set(labels.items())
    values = [figure for (one, all_labels), figure in metrics.items() if one == name and wanted <= all_labels]
    same(len(values), 1, f"figures of {name}{labels}")
    return values[0]


@check("the server is up and the scrape was without error")
def _():
    same(value("redis_up"), 1)
    same(value("redis_exporter_last_scrape_error"), 0)
    holds(value("redis_uptime_in_seconds") >= 0, "an uptime")
    holds([labels for (name, labels) in metrics if name == "redis_instance_info" and ("role", "master") in labels], "the role")


@check("streams, groups and consumers")
def _():
    same(value("redis_stream_length", stream="orders"), 5)
    same(value("redis_stream_groups", stream="orders"), 1)
    same(value("redis_stream_group_consumers", stream="orders", group="workers"), 2)
    same(value("redis_stream_group_messages_pending", stream="orders", group="workers"), 3)
    same(value("redis_stream_group_consumer_messages_pending", stream="orders", consumer="alice"), 2)
    same(value("redis_stream_group_consumer_messages_pending", stream="orders", consumer="bob"), 1)
    holds(value("redis_stream_group_consumer_idle_seconds", stream="orders", consumer="bob") < 60, "an idle time")


@check("keys")
def _():
    same(value("redis_db_keys", db="db0"), 2)
    same(value("redis_db_keys_expiring", db="db0"), 1)
    same(value("redis_key_size", key="greeting"), 5)


@check("commands, clients, memory and persistence")
def _():
    same(value("redis_commands_total", cmd="xadd"), 5)
    holds(value("redis_commands_duration_seconds_total", cmd="xadd") >= 0, "a duration")
    holds(value("redis_connected_clients") >= 2, "clients")
    holds(value("redis_commands_processed_total") >= 10, "commands")
    holds(value("redis_memory_used_bytes") > 0, "memory")
    same(value("redis_blocked_clients"), 0)
    holds([1 for (name, _) in metrics if name == "redis_connected_clients_details"], "the list of clients")


@check("the slow log")
def _():
    if not slow_log:
        skip("SLOWLOG is not known")
    holds(value("redis_slowlog_length") > 0, "a length")
    holds(value("redis_slowlog_last_id") > 0, "the number of the last entry")
    holds(value("redis_last_slow_execution_duration_seconds") >= 0, "a duration")


run()
