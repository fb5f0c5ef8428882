"""WebSocket and server-sent events, to be looked at through a proxy.

    sockets.py serve                     prints its port: echoes, `close CODE` closes with that code
    sockets.py talk URL                  text, binary, ping, 1 MB, closing codes
    sockets.py last URL STARTED SIGN     echoes until the file SIGN is there; touches STARTED first
    sockets.py idle URL SECONDS          how it ends when nothing is said, and that this is in time
    sockets.py events                    prints its port: five events, each once the last was heard
    sockets.py hear URL                  hears them; each must come before the next is made
"""

import asyncio
import http.server
import os
import sys
import threading
import time
import urllib.request

import websockets

MOST = 2 << 20


def expect(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: found {found!r:.200}, expected {expected!r:.200}")


async def serve():
    async def echo(socket):
        async for message in socket:
            if isinstance(message, str) and message.startswith("close "):
                await socket.close(int(message.split()[1]), "as you say")
                return
            await socket.send(message)

    async def handler(socket):
        # Said along with the handshake: the first frame may share a packet with the 101.
        await socket.send("welcome")
        await echo(socket)

    async with websockets.serve(handler, "127.0.0.1", 0, max_size=MOST, ping_interval=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


def connect(url):
    return websockets.connect(url, proxy=None, max_size=MOST, ping_interval=None)


async def echoed(socket, message):
    await socket.send(message)
    return await asyncio.wait_for(socket.recv(), 10) == message


async def talk(url):
    async with connect(url) as socket:
        expect("the first frame", await asyncio.wait_for(socket.recv(), 5), "welcome")
        for name, message in {
            "text": "grüße",
            "binary": bytes(range(256)),
            "empty": "",
            "1 MB": os.urandom(1_000_000),
            "1 MB of text": "a" * 1_000_000,
        }.items():
            expect(name, await echoed(socket, message), True)
        for number in range(500):
            expect(f"message {number}", await echoed(socket, f"{number}"), True)
        await asyncio.wait_for(await socket.ping(b"there?"), 5)
        await socket.send("close 4001")
        try:
            await socket.recv()
        except websockets.ConnectionClosed:
            pass
        expect("the server's close", (socket.close_code, socket.close_reason), (4001, "as you say"))
    async with connect(url) as socket:
        await socket.recv()
        await socket.close(4002, "mine")
        expect("the client's close", socket.close_code, 4002)
    print("all well")


async def last(url, started, sign):
    async with connect(url) as socket:
        await socket.recv()
        count = 0
        while not os.path.exists(sign):
            expect(f"echo {count}", await echoed(socket, f"{count}"), True)
            count += 1
            open(started, "a").close()
            await asyncio.sleep(0.01)
    print(f"{count} echoes")


async def idle(url, seconds):
    async with connect(url) as socket:
        await socket.recv()
        # Half its time twice: what is said must begin the time anew.
        for _ in range(2):
            await asyncio.sleep(seconds / 2)
            expect("echo", await echoed(socket, "still here"), True)
        began = time.monotonic()
        try:
            await asyncio.wait_for(socket.recv(), seconds + 5)
        except websockets.ConnectionClosed:
            pass
        took = time.monotonic() - began
        expect(f"the end after {took:.2f} s", seconds * 0.6 < took < seconds + 2, True)
    print("ended")


class Events(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    heard = threading.Semaphore(0)

    def log_message(self, *_):
        pass

    def do_POST(self):
        Events.heard.release()
        self.send_response(204)
        self.end_headers()

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for number in range(5):
            self.wfile.write(b"data: %d\n\n" % number)
            self.wfile.flush()
            if not Events.heard.acquire(timeout=5):
                return
        self.close_connection = True


def events():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Events)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def hear(url):
    """The server makes no event before the last one is acknowledged, by a request of its own."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(url, timeout=5) as answer:
        for number in range(5):
            expect("event", answer.readline() + answer.readline(), b"data: %d\n\n" % number)
            direct.open(urllib.request.Request(url, data=b"", method="POST"), timeout=5).close()
        expect("the end", answer.read(), b"")
    print("5 events")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            asyncio.run(serve())
        case ["talk", url]:
            asyncio.run(talk(url))
        case ["last", url, started, sign]:
            asyncio.run(last(url, started, sign))
        case ["idle", url, seconds]:
            asyncio.run(idle(url, float(seconds)))
        case ["events"]:
            events()
        case ["hear", url]:
            hear(url)
        case _:
            sys.exit(__doc__)
