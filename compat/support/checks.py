"""What the Python scripts share: named checks, each on keys of its own, one line of output per check."""

import asyncio
import os
import sys
import time
import traceback

HOST = "127.0.0.1"
PORT = int(os.environ["PORT"])
PROTOCOL = int(os.environ.get("PROTOCOL", "2"))

_checks = []


def check(name):
    """Registers a function (plain or async) as a check; they run in the order of the file."""

    def register(function):
        _checks.append((name, function))
        return function

    return register


def same(actual, expected, what="value"):
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r}, expected {expected!r}")


def holds(condition, what):
    if not condition:
        raise AssertionError(what)


class Skip(Exception):
    """Why a check cannot be made against this server."""


def skip(why):
    raise Skip(why)


def _report(name, error):
    if error is None:
        print(f"ok {name}", flush=True)
    elif isinstance(error, Skip):
        print(f"skip {name}: {error}", flush=True)
    else:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"not ok {name}: {type(error).__name__}: {text}", flush=True)
        traceback.print_exception(error, file=sys.stderr)


def run():
    for name, function in _checks:
        try:
            function()
            _report(name, None)
        except Exception as error:
            _report(name, error)
    print("done")


async def run_async():
    for name, function in _checks:
        try:
            await asyncio.wait_for(function(), 20)
            _report(name, None)
        except Exception as error:
            _report(name, error)
    print("done")


async def until(condition, what):
    """Waits until `condition` (plain or async) holds; five seconds at most."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        held = condition()
        if asyncio.iscoroutine(held):
            held = await held
        if held:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"never came: {what}")


def url():
    """The URL of the server. Without a protocol redis-py asks for RESP3 and gives replies the shapes they have under RESP2, which is
    what frameworks expect."""
    return f"redis://{HOST}:{PORT}/0" + ("?protocol=2" if PROTOCOL == 2 else "")
