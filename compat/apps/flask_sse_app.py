"""Flask-SSE: a web application that pushes server-sent events to browsers; here both ends are real HTTP."""

import http.client
import threading
import time

import redis
from checks import HOST, check, run, same, url
from flask import Flask, request
from flask_sse import sse
from werkzeug.serving import WSGIRequestHandler, make_server

app = Flask(__name__)
app.config["REDIS_URL"] = url()
app.register_blueprint(sse, url_prefix="/stream")


@app.post("/say")
def say():
    sse.publish({"text": request.args["text"]}, type="greeting", id=request.args.get("id"), channel=request.args.get("channel", "sse"))
    return "said"


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


server = make_server(HOST, 0, app, threaded=True, request_handler=Quiet)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
r = redis.Redis.from_url(url(), decode_responses=True)


def wait_for(condition, what):
    end = time.monotonic() + 5
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"never came: {what}")
        time.sleep(0.005)


def listen(channel, others):
    """Opens the stream of a channel; comes back when Redis has the subscription beside `others`."""
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=10)
    # The first event sends the headers, so the answer is awaited after it.
    connection.request("GET", f"/stream?channel={channel}")
    wait_for(lambda: dict(r.pubsub_numsub(channel))[channel] == others + 1, "the subscription")
    return connection


def post(text, channel, number):
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=10)
    connection.request("POST", f"/say?text={text}&channel={channel}&id={number}")
    same(connection.getresponse().read(), b"said")


def events(connection, count):
    response = connection.getresponse()
    same(response.getheader("Content-Type").partition(";")[0], "text/event-stream")
    return ["".join(iter(lambda: response.readline().decode(), "\n")) for _ in range(count)]


@check("two browsers on one channel, one on another")
def _():
    first, second, other = listen("sse", 0), listen("sse", 1), listen("private", 0)
    for n in range(3):
        post(f"hello{n}", "sse", n)
    post("secret", "private", 9)
    expected = [f'event:greeting\ndata:{{"text": "hello{n}"}}\nid:{n}\n' for n in range(3)]
    same(events(first, 3), expected)
    same(events(second, 3), expected)
    same(events(other, 1), ['event:greeting\ndata:{"text": "secret"}\nid:9\n'])


@check("a browser that goes away ends its subscription")
def _():
    connection = listen("brief", 0)
    connection.sock.close()
    connection.close()

    # The application notices when it has something to write.
    def gone():
        sse_channel = dict(r.pubsub_numsub("brief"))["brief"]
        if sse_channel:
            post("anybody", "brief", 1)
        return not sse_channel

    wait_for(gone, "the end of the subscription")


run()
