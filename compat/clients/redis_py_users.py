"""redis-py as one of several users: passwords, rights on keys, channels and commands, rights that are taken away."""

import threading

import redis
from checks import HOST, PORT, PROTOCOL, check, holds, run, same, skip

r = redis.Redis(host=HOST, port=PORT, protocol=PROTOCOL, decode_responses=True, socket_timeout=10)


def known():
    """Skips the check when the server has no users."""
    if "acl" not in str(r.execute_command("COMMAND DOCS", "acl")).lower():
        skip("ACL is not known")


def user(name, password, database=0):
    url = f"redis://{name}:{password}@{HOST}:{PORT}/{database}?protocol={PROTOCOL}"
    return redis.Redis.from_url(url, decode_responses=True, socket_timeout=10, retry=None)


def refused(error, call, text=""):
    try:
        call()
    except error as raised:
        holds(text in str(raised), f"another text: {raised}")
    else:
        raise AssertionError(f"{error.__name__} was not raised")


@check("a user by URL; a wrong password is refused")
def _():
    known()
    r.acl_setuser("clerk", enabled=True, passwords=["+secret"], keys=["*"], channels=["*"], commands=["+@all"])
    c = user("clerk", "secret", 3)
    same(c.acl_whoami(), "clerk")
    c.set("where", "three")
    same(r.get("where"), None)
    refused(redis.AuthenticationError, lambda: user("clerk", "wrong").ping(), "invalid username-password pair")
    refused(redis.AuthenticationError, lambda: user("nobody", "secret").ping(), "invalid username-password pair")
    r.acl_setuser("clerk", enabled=False)
    refused(redis.AuthenticationError, lambda: user("clerk", "secret").ping())


@check("rights on keys, channels and commands")
def _():
    known()
    r.acl_setuser(
        "shop",
        enabled=True,
        passwords=["+secret"],
        keys=["shop:*"],
        channels=["shop:*"],
        categories=["+@stream", "+@pubsub", "+@connection", "+@transaction"],
        commands=["-xtrim"],
    )
    c = user("shop", "secret")
    same(c.xadd("shop:orders", {"n": 1}, id="1-0"), "1-0")
    c.xgroup_create("shop:orders", "g", id="0")
    same(len(c.xreadgroup("g", "c", {"shop:orders": ">"})), 1)
    refused(redis.exceptions.NoPermissionError, lambda: c.xadd("bank:orders", {"n": 1}))
    refused(redis.exceptions.NoPermissionError, lambda: c.xread({"shop:orders": "0", "bank:orders": "0"}))
    refused(redis.exceptions.NoPermissionError, lambda: c.xtrim("shop:orders", 0), "xtrim")
    refused(redis.exceptions.NoPermissionError, lambda: c.get("shop:name"), "get")
    same(c.publish("shop:news", "hello"), 0)
    refused(redis.exceptions.NoPermissionError, lambda: c.publish("bank:news", "hello"), "channel")
    pipe = c.pipeline()
    pipe.xadd("shop:orders", {"n": 2}, id="2-0").xadd("bank:orders", {"n": 1})
    refused(redis.exceptions.NoPermissionError, pipe.execute)
    same(r.xlen("shop:orders"), 1, "nothing of the transaction is done")
    same(r.exists("bank:orders"), 0)


@check("who is removed loses the connection, also while it waits and while it listens")
def _():
    known()
    r.acl_setuser("guest", enabled=True, passwords=["+secret"], keys=["*"], channels=["*"], commands=["+@all"])
    ended = []

    def wait():
        c = user("guest", "secret")
        try:
            c.xread({"never": "$"}, block=10_000)
        except redis.RedisError as error:
            ended.append(type(error).__name__)

    def listen():
        p = user("guest", "secret").pubsub()
        p.subscribe("never")
        try:
            for _ in p.listen():
                pass
        except redis.RedisError as error:
            ended.append(type(error).__name__)

    threads = [threading.Thread(target=wait), threading.Thread(target=listen)]
    for thread in threads:
        thread.start()
    while r.info("clients")["blocked_clients"] < 1 or dict(r.pubsub_numsub("never"))["never"] < 1:
        pass
    same(r.acl_deluser("guest"), 1)
    for thread in threads:
        thread.join()
    same(len(ended), 2, "both connections")
    holds(set(ended) <= {"ConnectionError", "AuthenticationError"}, f"how they ended: {ended}")


@check("what ACL tells of users and of refusals")
def _():
    known()
    r.acl_setuser("teller", enabled=True, passwords=["+secret"], keys=["bank:*"], categories=["+@read"])
    told = r.acl_getuser("teller")
    holds("on" in told["flags"], told["flags"])
    same((told["keys"], told["channels"]), ("~bank:*", "") if isinstance(told["keys"], str) else (["~bank:*"], []))
    holds("teller" in r.acl_users(), "in the list of users")
    r.acl_log_reset()
    refused(redis.exceptions.NoPermissionError, lambda: user("teller", "secret").set("bank:vault", "0"))
    # What the client asks for when it connects may be refused too.
    entries = [(entry["username"], entry["reason"], entry["object"]) for entry in r.acl_log()]
    holds(("teller", "command", "set") in entries, f"in the log: {entries}")
    same(r.execute_command("ACL DRYRUN", "teller", "get", "bank:vault"), "OK")
    holds("stream" in r.acl_cat() and "xadd" in r.acl_cat("stream"), "the categories")


@check("a password for everybody: requirepass")
def _():
    known()
    r.config_set("requirepass", "open sesame")
    try:
        plain = redis.Redis(host=HOST, port=PORT, protocol=PROTOCOL, retry=None)
        refused((redis.AuthenticationError, redis.ResponseError), plain.ping)
        c = redis.Redis(host=HOST, port=PORT, protocol=PROTOCOL, password="open sesame", decode_responses=True)
        same((c.ping(), c.acl_whoami()), (True, "default"))
    finally:
        r.config_set("requirepass", "")
    same(redis.Redis(host=HOST, port=PORT, protocol=PROTOCOL).ping(), True)


run()
