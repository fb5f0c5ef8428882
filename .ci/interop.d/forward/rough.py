"""What no good client sends: each case gets its protocol's error, or a clean end, in time.

    rough.py PROXY_PORT ORIGIN_PORT HANDSHAKE_SECONDS

One line a case; after each, an ordinary request must go through.
"""

import re
import socket
import sys
import time

PROXY, ORIGIN = int(sys.argv[1]), int(sys.argv[2])
# The proxy counts deadlines in coarse ticks, and gives an answer some time to be read.
DEADLINE = float(sys.argv[3]) + 0.5
LINGER = 2.5
AT = f"127.0.0.1:{ORIGIN}"
HELLO = f"GET http://{AT}/hello HTTP/1.1\r\nhost: {AT}\r\n\r\n".encode()
LOCAL = bytes([127, 0, 0, 1]) + ORIGIN.to_bytes(2, "big")


class Surprise(Exception):
    pass


def converse(pieces, pause, must_end=True):
    """Sends, reads to the end; what came, how long it took, and whether it was reset."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", PROXY), timeout=DEADLINE + LINGER) as client:
        came = b""
        try:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(pause)
        except OSError:
            pass  # It may answer and close before it has heard all.
        try:
            while piece := client.recv(1 << 16):
                came += piece
                if not must_end and came.count(b"hello\n") == must_end_count:
                    break
        except TimeoutError:
            raise Surprise(f"still open, after {came[:60]!r}") from None
        except ConnectionResetError:
            if not came:
                raise Surprise("reset, without an answer") from None
    return came, time.monotonic() - began


must_end_count = 3


def is_alive():
    request = HELLO.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    came, _ = converse([request], 0)
    if not came.startswith(b"HTTP/1.1 200 "):
        raise Surprise(f"afterwards the proxy answers {came[:60]!r}")


def check(name, pieces, expected, pause=0.0, limit=DEADLINE):
    """`expected` is a pattern for the start of what comes; an empty one: just an end in time."""
    pieces = [pieces] if isinstance(pieces, bytes) else pieces
    try:
        came, took = converse(pieces, pause)
        if not re.match(expected, came, re.DOTALL):
            raise Surprise(f"got {came[:120]!r}")
        if took > limit:
            raise Surprise(f"ended after {took:.2f} s only")
        is_alive()
        print(f"ok - {name}", flush=True)
    except (Surprise, OSError) as error:
        print(f"not ok - {name}: {error}", flush=True)


def status(*codes):
    return b"HTTP/1\\.[01] (" + "|".join(map(str, codes)).encode() + b") "


def request(line, *fields, body=b""):
    return "\r\n".join([line, *fields, "", ""]).encode() + body


def get(*fields, path="/head", method="GET", body=b""):
    return request(f"{method} http://{AT}{path} HTTP/1.1", *fields, body=body)


HOST = f"host: {AT}"
CLOSE = "connection: close"
ENDED = rb"\Z"
# An HTTP error, or no answer at all.
REFUSED = b"(" + status(400, 408, 414, 431, 501, 505) + b"|$)"
CHUNKED = "transfer-encoding: chunked"


def first_bytes():
    check("garbage of 4 KiB", bytes(range(255, 127, -1)) * 32, ENDED)
    check("zero bytes", bytes(64), ENDED)
    check("a TLS handshake", bytes.fromhex("16030100050100000100"), ENDED)
    check("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED)
    check("a PROXY header", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n" + HELLO, REFUSED)
    check("a binary PROXY header", b"\r\n\r\n\0\r\nQUIT\n!\0\0\0", ENDED)
    check("SOCKS4", b"\4\1" + LOCAL[4:] + LOCAL[:4] + b"me\0", rb"\0\x5b")
    # The clock starts with the connection; the linger is for those who were answered.
    check("silence", [], ENDED)
    check("half a request line", b"GET http://exam", REFUSED, limit=DEADLINE + LINGER)
    check("head byte by byte", [bytes([byte]) for byte in HELLO[:40]], REFUSED, 0.1, 4.5 + LINGER)


def heads():
    line = f"GET http://{AT}/".encode()
    check("request line of 1 MiB", line + b"a" * (1 << 20) + b" HTTP/1.1\r\n\r\n", status(414, 431))
    many = [f"x-{number}: {number}" for number in range(10_000)]
    check("10 000 fields", get(HOST, *many), status(431))
    check("a field of 1 MiB", get(HOST, "x: " + "a" * (1 << 20)), status(431))
    check("no host", get(CLOSE), status(400))
    check("two hosts", get(HOST, HOST, CLOSE), status(400))
    check("a blank before the colon", get(HOST, "x : 1"), status(400))
    check("a folded field", get(HOST, "x: 1", " 2"), status(400))
    check("a zero byte in a field", get(HOST, "x: a\0b"), status(400))
    check("a bare return in a field", get(HOST, "x: a\rb"), status(400))
    check("HTTP/9.9", request(f"GET http://{AT}/ HTTP/9.9", HOST), status(400, 505))
    check("a method of brackets", request(f"G(T) http://{AT}/ HTTP/1.1", HOST), status(400))
    check("no path or authority", request("GET http:// HTTP/1.1", HOST), status(400))
    check("https:// without CONNECT", request("GET https://a.test/ HTTP/1.1", HOST, CLOSE), status(400))
    check("ftp://", request("GET ftp://a.test/ HTTP/1.1", HOST, CLOSE), status(400, 501))
    check("a path alone", request("GET / HTTP/1.1", HOST, CLOSE), status(400))
    # RFC 9112 §3.2.2: the target counts, and the origin is told so.
    check(
        "host that is not the target's",
        get("host: other.test", CLOSE),
        b"(" + status(400) + b"|" + status(200) + b".*[Hh]ost: " + AT.encode() + b"\r?\n)",
    )


def bodies():
    def post(*fields, body=b"0\r\n\r\n"):
        return get(HOST, *fields, method="POST", body=body)

    both = post("content-length: 5", CHUNKED)
    check("both lengths", both, b"(" + status(400) + b"|" + status(200) + b".* chunked\n$)")
    check("two content lengths", post("content-length: 5", "content-length: 6"), status(400))
    check("content length with a sign", post("content-length: +5"), status(400))
    check("content length too long", post(f"content-length: {1 << 70}"), status(400))
    check("chunked, and then not", post("transfer-encoding: chunked, identity"), status(400, 501))
    check("chunked in disguise", post("transfer-encoding: xchunked"), status(400, 501))
    # The origin has the head by then: an end of either kind will do.
    broken = b"(" + status(400, 500, 502) + b"|$)"
    check("a chunk of no number", post(CHUNKED, body=b"zz\r\nhello\r\n"), broken)
    check("a chunk size past 64 bits", post(CHUNKED, body=b"f" * 17 + b"\r\n"), broken)


def connects():
    def connect(target, *fields, body=b""):
        return request(f"CONNECT {target} HTTP/1.1", f"host: {target}", *fields, body=body)

    for target in [
        "127.0.0.1:0",
        "127.0.0.1",
        "127.0.0.1:65536",
        "127.0.0.1:http",
        ":80",
        "[::1:80",
        "a b:80",
        "http://127.0.0.1:80/",
        "user@127.0.0.1:80",
        "a" * 300 + ":80",
        "/",
    ]:
        shown = target if len(target) < 40 else f"{target[:8]}... of {len(target)} letters"
        check(f"CONNECT to {shown}", connect(target, CLOSE), status(400))
    check("CONNECT with a body", connect(AT, "content-length: 5", body=b"hello"), status(400))


def socks():
    hello = b"\5\1\0"

    def command(kind, address, version=5):
        return hello + bytes([version, kind, 0]) + address

    local = b"\1" + LOCAL
    check("SOCKS without methods", b"\5\0", b"(\5\xff)?$")
    check("SOCKS with a password only", b"\5\1\2", b"\5\xff$")
    check("a cut SOCKS greeting", b"\5\4\0", ENDED)
    check("a cut SOCKS request", hello + b"\5\1\0\1\x7f", b"\5\0$")
    check("SOCKS BIND", command(2, local), b"\5\0\5\7")
    check("SOCKS UDP", command(3, local), b"\5\0\5\7")
    check("a SOCKS command unheard of", command(0x7F, local), b"\5\0\5\7")
    check("a SOCKS address type unheard of", command(1, b"\7" + LOCAL), b"\5\0\5\x08")
    check("a SOCKS request of version 4", command(1, local, version=4), b"\5\0(\5\1|$)")
    check("SOCKS to port 0", command(1, b"\1\x7f\0\0\1\0\0"), b"\5\0\5[\1\2\4]")
    check("SOCKS to an empty name", command(1, b"\3\0\0\x50"), b"\5\0\5[\1\4\x08]")
    check("SOCKS to a name of zero bytes", command(1, b"\3\4\0\0\0\0\0\x50"), b"\5\0\5[\1\4\x08]")


def rude_ends():
    """Clients that reset: nothing to read, so only the request afterwards tells."""
    linger = b"\1\0\0\0\0\0\0\0"
    post = get(HOST, "content-length: 1000000", method="POST", body=bytes(1000))
    tunnel = request(f"CONNECT {AT} HTTP/1.1", f"host: {AT}")
    for name, sent in {
        "at once": b"",
        "in a head": HELLO[:20],
        "in a body": post,
        "in an answer": get(HOST, path="/endless"),
        "in a tunnel": tunnel,
        "in a SOCKS handshake": b"\5\1\0",
    }.items():
        try:
            for _ in range(50):
                with socket.create_connection(("127.0.0.1", PROXY)) as client:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    client.sendall(sent)
            is_alive()
            print(f"ok - 50 resets {name}", flush=True)
        except (Surprise, OSError) as error:
            print(f"not ok - 50 resets {name}: {error}", flush=True)


def pipeline():
    name = "three requests in one packet"
    try:
        came, _ = converse([HELLO * must_end_count], 0, must_end=False)
        if came.count(b"HTTP/1.1 200 ") != must_end_count:
            raise Surprise(f"got {came[:200]!r}")
        print(f"ok - {name}", flush=True)
    except (Surprise, OSError) as error:
        print(f"not ok - {name}: {error}", flush=True)


if __name__ == "__main__":
    first_bytes()
    heads()
    bodies()
    connects()
    socks()
    rude_ends()
    pipeline()
