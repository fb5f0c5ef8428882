"""Clients that wear a site out, bounded.

    flood.py resets PORT PATH STREAMS     HTTP/2 streams that are reset as soon as they are opened
    flood.py frames PORT KIND COUNT       ping, settings, window, continuation, empty: as many of them
    flood.py open PORT PATH COUNT         connections that are served once and stay; prints how many
                                          were, and holds them until its standard input ends
"""

import resource
import selectors
import socket
import sys

import h2.config
import h2.connection
import h2.events
import hpack
from hyperframe import frame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def resets(port, path, streams):
    """Goes on with a new connection when it is told to go away, for that is a right answer."""
    opened = connections = 0
    while opened < streams and connections < 500:
        connections += 1
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            try:
                opened += reset_until_away(client, path, streams - opened)
            except OSError:
                pass
    print(f"{opened} streams on {connections} connections")


def reset_until_away(client, path, most):
    talk = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    talk.initiate_connection()
    head = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "a.test")]
    opened = 0
    while opened < most:
        for _ in range(min(50, most - opened)):
            stream = talk.get_next_available_stream_id()
            talk.send_headers(stream, head, end_stream=True)
            talk.reset_stream(stream, 8)
            opened += 1
        client.sendall(talk.data_to_send())
        client.setblocking(False)
        try:
            while piece := client.recv(1 << 16):
                for event in talk.receive_data(piece):
                    if isinstance(event, h2.events.ConnectionTerminated):
                        return opened
            return opened
        except BlockingIOError:
            pass
        client.settimeout(10)
    return opened


def frames(port, kind, count):
    """On one connection, until that is ended; nothing that comes is read, as a bad client would do."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        sent = 0
        try:
            client.sendall(PREFACE + frame.SettingsFrame(0).serialize() + opening(kind))
            piece = b"".join([repeated(kind).serialize()] * 100)
            while sent < count:
                client.sendall(piece)
                sent += 100
            end = "it was taken"
        except TimeoutError:
            end = "no more is read"
        except OSError:
            end = "it was ended"
    print(f"{sent} of {kind}: {end}")


def opening(kind):
    """What has to stand before: a head that does not end, or a stream whose body may come."""
    if kind not in ("continuation", "empty"):
        return b""
    head = [(":method", "POST"), (":path", "/hello"), (":scheme", "http"), (":authority", "a.test")]
    flags = [] if kind == "continuation" else ["END_HEADERS"]
    return frame.HeadersFrame(1, hpack.Encoder().encode(head), flags=flags).serialize()


def repeated(kind):
    match kind:
        case "ping":
            return frame.PingFrame(0, b"12345678")
        case "settings":
            return frame.SettingsFrame(0, {4: 65_535})
        case "window":
            return frame.WindowUpdateFrame(0, 1)
        case "continuation":
            # A field that is no news to the table: small here, larger there.
            return frame.ContinuationFrame(1, hpack.Encoder().encode([("x", "a" * 1000)], huffman=False))
        case "empty":
            return frame.DataFrame(1, b"")
    sys.exit(f"{kind} is no kind of frame")


def hold(port, path, count):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    watched, held, served = selectors.DefaultSelector(), [], 0
    for _ in range(min(count, most - 100)):
        client = socket.create_connection(("127.0.0.1", port), timeout=10)
        client.sendall(f"GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n".encode())
        held.append(client)
        watched.register(client, selectors.EVENT_READ)
        if len(held) % 100 == 0:
            served += heard(watched, 0)
    while more := heard(watched, 2):
        served += more
    print(served, flush=True)
    sys.stdin.read()


def heard(watched, wait):
    """How many have got their 200 since; any other answer is a refusal, which may be right."""
    served = 0
    for key, _ in watched.select(wait):
        watched.unregister(key.fileobj)
        try:
            served += key.fileobj.recv(1 << 12).startswith(b"HTTP/1.1 200 ")
        except OSError:
            pass
    return served


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["resets", port, path, streams]:
            resets(int(port), path, int(streams))
        case ["frames", port, kind, count]:
            frames(int(port), kind, int(count))
        case ["open", port, path, count]:
            hold(int(port), path, int(count))
        case _:
            sys.exit(__doc__)
