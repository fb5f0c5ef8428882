"""Bytes that a site must refuse, and bytes that it must not misread: raw connections to it.

    wire.py PORT HEADER_SECONDS

`/head` of the site shows what reached the server, `/` is whatever takes a POST. One line a case; after
each, an ordinary request must be answered.
"""

import re
import socket
import sys
import time

PORT, HEADER = int(sys.argv[1]), float(sys.argv[2])
# Coarse ticks of the proxy's clock, and some time for the answer to be read.
LATE = 4.0
HOST = "host: a.test"
CHUNKED = "transfer-encoding: chunked"
FIVE = "content-length: 5"
REFUSED = rb"HTTP/1\.[01] 400 "
# A transfer coding that nobody has heard of (RFC 9112 §6.1).
UNHEARD = rb"HTTP/1\.[01] (400|501) "


class Surprise(Exception):
    pass


def request(line, *fields, body=b""):
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1") + body


def get(path="/head", *fields):
    return request(f"GET {path} HTTP/1.1", HOST, *fields, "connection: close")


def post(*fields, body=b"0\r\n\r\n", version="1.1"):
    return request(f"POST / HTTP/{version}", HOST, *fields, body=body)


def converse(pieces, pause=0.0):
    """All that comes until the connection ends, and how long that took."""
    began, came = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", PORT), timeout=HEADER + LATE) as client:
        try:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(pause)
        except OSError:
            pass  # It may answer and close before it has heard all.
        try:
            while piece := client.recv(1 << 16):
                came += piece
        except TimeoutError:
            raise Surprise(f"still open, after {came[:80]!r}") from None
        except ConnectionResetError:
            if not came:
                raise Surprise("reset, without an answer") from None
    return came, time.monotonic() - began


def check(name, sent, expected, pause=0.0, answers=1):
    """`expected` is a pattern for what comes, and `answers` how many answers that may be."""
    pieces = [sent] if isinstance(sent, bytes) else sent
    try:
        came, took = converse(pieces, pause)
        if not re.match(expected, came, re.DOTALL):
            raise Surprise(f"sent {pieces[0][:120]!r}, got {came[:160]!r}")
        found = len(re.findall(rb"^HTTP/1\.[01] \d", came, re.MULTILINE))
        if found > answers:
            raise Surprise(f"{found} answers to {pieces[0][:120]!r}: {came[-120:]!r}")
        if took > HEADER + LATE:
            raise Surprise(f"ended after {took:.2f} s only")
        after, _ = converse([get("/hello")])
        if not after.startswith(b"HTTP/1.1 200 "):
            raise Surprise(f"afterwards it answers {after[:80]!r}")
        print(f"ok - reverse: {name}", flush=True)
    except (Surprise, OSError) as error:
        print(f"not ok - reverse: {name}: {error}", flush=True)


# What follows the first message, for whoever takes its end to be earlier than it is.
NEXT = request("GET /head HTTP/1.1", "host: smuggled.test")


def framing():
    """RFC 9112 §6: each of these has been a request for one parser and two for another."""
    hidden = b"0\r\n\r\n" + NEXT
    for name, sent in {
        "a length and chunks": post(f"content-length: {len(hidden)}", CHUNKED, body=hidden),
        "chunks and a length": post(CHUNKED, "content-length: 3", body=b"8\r\nSMUGGLED\r\n0\r\n\r\n"),
        "two lengths that differ": post(FIVE, "content-length: 6", body=b"hello" + NEXT),
        "two lengths in one field": post("content-length: 5, 6", body=b"hello" + NEXT),
        "a length with a sign": post("content-length: +5", body=b"hello" + NEXT),
        "a length in hexadecimal": post("content-length: 0x5", body=b"hello" + NEXT),
        "a length with a blank inside": post("content-length: 1 5", body=b"hello" + NEXT),
        "a length of nothing": post("content-length:", body=NEXT),
        "a length below zero": post("content-length: -1", body=NEXT),
        "a length past 64 bits": post(f"content-length: {1 << 70}", body=NEXT),
        "chunked in disguise": post("transfer-encoding: xchunked", FIVE, body=hidden),
        "chunked, and then identity": post("transfer-encoding: chunked, identity", body=hidden),
        "identity, and then chunked": post("transfer-encoding: identity, chunked", body=hidden),
        "chunked twice": post(CHUNKED, CHUNKED, body=hidden),
        "chunked twice in one field": post("transfer-encoding: chunked, chunked", body=hidden),
        "chunked in quotes": post('transfer-encoding: "chunked"', FIVE, body=hidden),
        "chunked after a tab of its own kind": post("transfer-encoding: \x0bchunked", FIVE, body=hidden),
        "a blank before the colon": post("transfer-encoding : chunked", FIVE, body=hidden),
        "a blank before the name": post(" transfer-encoding: chunked", FIVE, body=hidden),
        "a folded field": post("transfer-encoding:\r\n chunked", FIVE, body=hidden),
        "a field behind a bare line feed": post("x: 1\ntransfer-encoding: chunked", FIVE, body=hidden),
        "a field behind a bare return": post("x: 1\rtransfer-encoding: chunked", FIVE, body=hidden),
        "a zero byte in a field": post("x: 1\0", FIVE, body=b"hello" + NEXT),
        "a length with letters": post("content-length: 5a", body=b"hello" + NEXT),
        "chunks of HTTP/1.0": post(CHUNKED, body=hidden, version="1.0"),
        "a field without a colon": post("transfer-encoding", FIVE, body=b"hello" + NEXT),
    }.items():
        check(name, sent, UNHEARD if "disguise" in name or "identity" in name else REFUSED)
    # The same length twice means the same thing to all: refused, or told the server once.
    twice = post(FIVE, FIVE, "connection: close", body=b"hello")
    check("the same length twice", twice, rb"HTTP/1\.1 (200|400) ")


def chunks():
    """The server may have the head by then: an error or an end, never a second answer."""
    ended = rb"(HTTP/1\.[01] (400|502) |\Z)"
    for name, body in {
        "a chunk of no number": b"zz\r\nhello\r\n",
        "a chunk size past 64 bits": b"f" * 17 + b"\r\n",
        "a chunk size with a sign": b"+5\r\nhello\r\n0\r\n\r\n",
        "a chunk size in C's spelling": b"0x5\r\nhello\r\n0\r\n\r\n",
        "a chunk longer than it says": b"3\r\nhello\r\n0\r\n\r\n",
        "a chunk size behind a blank": b" 5\r\nhello\r\n0\r\n\r\n",
        "a chunk line that ends with a bare line feed": b"5\nhello\r\n0\r\n\r\n",
        "a chunk that ends with a bare line feed": b"5\r\nhello\n0\r\n\r\n",
        "a bare line feed in an extension": b"5;a\n\r\nhello\r\n0\r\n\r\n",
        "an extension of 1 MiB": b"5;" + b"a" * (1 << 20) + b"\r\nhello\r\n0\r\n\r\n",
    }.items():
        check(name, post(CHUNKED, body=body + NEXT), ended)


def heads():
    many = [f"x-{number}: {number}" for number in range(10_000)]
    check("10 000 fields", get("/head", *many), rb"HTTP/1\.1 431 ")
    check("a field of 1 MiB", get("/head", "x: " + "a" * (1 << 20)), rb"HTTP/1\.1 431 ")
    check("a target of 1 MiB", get("/" + "a" * (1 << 20)), rb"HTTP/1\.1 (414|431) ")
    check("no host", request("GET /head HTTP/1.1"), REFUSED)
    check("two hosts", get("/head", "host: b.test"), REFUSED)
    check("a host of two", request("GET /head HTTP/1.1", "host: a.test, b.test"), REFUSED)
    check("a host that is not the target's", request("GET http://b.test/head HTTP/1.1", HOST, "connection: close"),
          rb"HTTP/1\.1 (400 |200 .*[Hh]ost: b\.test)")
    check("CONNECT", request("CONNECT a.test:80 HTTP/1.1", "host: a.test:80"), rb"HTTP/1\.1 (400|405|501) ")
    check("HTTP/9.9", request("GET /head HTTP/9.9", HOST), rb"HTTP/1\.[01] (400|505) ")
    check("garbage", bytes(range(255, 127, -1)) * 32, rb"(HTTP/1\.[01] 400 |\Z)")
    head = get()
    check("a head byte by byte, past its time", [bytes([byte]) for byte in head[:30]],
          rb"(HTTP/1\.[01] (408|400) |\Z)", pause=(HEADER + 1.5) / 30)
    check("half a head, and silence", head[:20], rb"(HTTP/1\.[01] (408|400) |\Z)")


def fields():
    answer = get("/head", "connection: close, x-mine", "x-mine: 1", "x_forwarded_for: 6.6.6.6", "x_low: 1",
                 "x-forwarded-for: 6.6.6.6", "x-forwarded-proto: https", "keep-alive: 5", "te: trailers, deflate",
                 "proxy-connection: close")
    check("fields of one hop, with underscores, and of a stranger's X-Forwarded-*", answer,
          rb"HTTP/1\.1 200 (?!.*(6\.6\.6\.6|x-mine|x_low|x_forwarded|keep-alive:|deflate|proxy-conn))"
          rb"(?=.*[Xx]-[Ff]orwarded-[Ff]or: 127\.0\.0\.1)(?=.*[Xx]-[Ff]orwarded-[Pp]roto: http\n)"
          rb"(?=.*[Xx]-[Rr]equest-[Ii]d: ..)(?=.*[Vv]ia: 1\.1 risefall)")


def paths():
    for path, seen in {
        "/a/../head": "/head",
        "/%68ead": "/head",
        "/./head?x=%2e%2e": "/head?x=%2e%2e",
        "/a/b/%2e%2e/../head": "/head",
        "/head#b": "/head",
    }.items():
        check(f"the path {path}", get(path), rb"HTTP/1\.1 200 .*\r\n\r\nGET " + re.escape(seen.encode()) + b" HTTP")
    for path in ["/../head", "/a/%2e%2e/%2e%2e/head", "/head%00", "/a\\..\\head", "/a/..;/head", "/a/..%2fhead",
                 "/a/%2e%2e%2fhead", "/%zz", "/a b", "head"]:
        check(f"the path {path}", get(path), REFUSED)


def pipeline():
    first = request("GET /hello HTTP/1.1", HOST)
    check("three requests in one packet", first * 2 + get("/hello"), rb"(HTTP/1\.1 200 .*hello\n){3}\Z", answers=3)


if __name__ == "__main__":
    framing()
    chunks()
    heads()
    fields()
    paths()
    pipeline()
