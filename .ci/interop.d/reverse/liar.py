"""A server whose answers are wrong, one way for each path. Prints its port, serves until it is killed.

    liar.py

`/good` is right, and says which connection it came by. `liar.py --paths` tells the paths, each with
what a client of a proxy must see: `502`, or `cut` for an answer that has begun and must not look whole.
"""

import socket
import sys
import threading

OK = b"HTTP/1.1 200 OK\r\n"
STRAY = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray"
CHUNKED = OK + b"transfer-encoding: chunked\r\n"

LIES = {
    "nothing": ("502", b""),
    "garbage": ("502", b"\x16\x03\x01\0\x05hello"),
    "half-a-head": ("502", b"HTTP/1.1 200 OK\r\ncontent-le"),
    "two-lengths": ("502", OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!"),
    "lengths-in-one": ("502", OK + b"content-length: 5, 6\r\n\r\nhello!"),
    "signed-length": ("502", OK + b"content-length: +5\r\n\r\nhello"),
    "length-and-chunks": ("502", CHUNKED + b"content-length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    "gzip-and-chunks": ("502", OK + b"transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    "coding": ("502", OK + b"transfer-encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    "blank-before-colon": ("502", OK + b"content-length : 5\r\n\r\nhello"),
    "zero-byte": ("502", OK + b"x: a\0b\r\ncontent-length: 5\r\n\r\nhello"),
    "bare-return": ("502", OK + b"x: a\rset-cookie: b\r\ncontent-length: 5\r\n\r\nhello"),
    "many-fields": ("502", OK + b"".join(b"x-%d: 1\r\n" % n for n in range(20_000)) + b"content-length: 0\r\n\r\n"),
    "status-of-two-digits": ("502", b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n"),
    "switching-unasked": ("502", b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
    "http-3": ("502", b"HTTP/3.0 200 OK\r\ncontent-length: 0\r\n\r\n"),
    "short": ("cut", OK + b"content-length: 10\r\n\r\nhello"),
    "half-a-chunk": ("cut", CHUNKED + b"\r\n10\r\nhello"),
    "no-last-chunk": ("cut", CHUNKED + b"\r\n5\r\nhello\r\n"),
    "bad-chunk": ("cut", CHUNKED + b"\r\n5\r\nhello\r\nzz\r\nhello\r\n0\r\n\r\n"),
    "wide-chunk": ("cut", CHUNKED + b"\r\n5\r\nhello\r\n" + b"f" * 17 + b"\r\nhello"),
    "long-chunk": ("cut", CHUNKED + b"\r\n3\r\nhello\r\n0\r\n\r\n"),
}
# Whole answers, with more behind them on a connection that stays open: never anybody's answer.
STRAYS = {
    "stray-answer": OK + b"content-length: 5\r\n\r\nhello" + STRAY,
    "stray-bytes": OK + b"content-length: 5\r\n\r\nhello, there is more",
    "stray-after-chunks": CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n" + STRAY,
    "body-of-204": b"HTTP/1.1 204 No Content\r\ncontent-length: 59\r\n\r\n" + STRAY,
    "body-of-304": b"HTTP/1.1 304 Not Modified\r\ncontent-length: 59\r\n\r\n" + STRAY,
}


def serve(client):
    with client:
        while True:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(1 << 16)
                if not piece:
                    return
                head += piece
            method, path = head.split(b" ")[:2]
            name = path.decode().rpartition("/")[2]
            if name in LIES:
                client.sendall(LIES[name][1])
                return
            body = b"good"
            right = OK + b"content-length: 4\r\n\r\n" + (b"" if method == b"HEAD" else body)
            client.sendall(STRAYS.get(name, right))


def guarded(client):
    try:
        serve(client)
    except OSError:
        pass  # The proxy has had enough.


def main():
    if "--paths" in sys.argv:
        for name, (seen, _) in LIES.items():
            print(name, seen)
        for name in STRAYS:
            print(name, "stray")
        return
    server = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(server.getsockname()[1], flush=True)
    while True:
        client, _ = server.accept()
        threading.Thread(target=guarded, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
