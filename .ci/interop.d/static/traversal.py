"""Targets that try to leave a root, sent as they are: no answer may show the canary.

    traversal.py make BASE               lays out what the corpus says
    traversal.py ask BASE CORPUS PORT    `listed` as a fourth: folders without an index are listed

The first answer that should not be ends it with code 1, and shows both bytes that were sent and bytes
that came.
"""

import collections
import os
import pathlib
import socket
import sys

CANARY = b"canary-sings-7c1e"
SHOWN = b"shown\n"
SECONDS = 5
# What /dev/zero would send is not read to its end.
MOST_BYTES = 1 << 20
# What no text file can hold, or no line of one.
BYTES = [
    b"/\xc0\xae\xc0\xae/canary.txt", b"/..\xc0\xafcanary.txt", b"/..\xe0\x80\xafcanary.txt", b"/\xff\xfe../canary.txt",
    b"/..\0/canary.txt", b"/../canary.txt\0.html", b"/..\t/canary.txt", b"/..\x0b/canary.txt", b"/..\x7f/canary.txt",
    b"/..\r/canary.txt", b"/..\n/canary.txt", b"/\r\n/../canary.txt", b"\t/../canary.txt", b" /../canary.txt",
    b"/../canary.txt HTTP/1.1\r\nx: /", b"", b"/" + b"../" * 20_000 + b"canary.txt",
]
# Each target is asked for in all of these ways.
WAYS = [
    b"accept: text/html\r\n",
    b"accept: application/json\r\naccept-encoding: br, zstd, gzip\r\n",
]


class Surprise(Exception):
    pass


# --- The folder -------------------------------------------------------------------------------


def make(base):
    text = CANARY + b"\n"
    for path in (
            CANARY.decode(), "canary.txt", "canary.txt.br", "secret/canary.txt", "root-private/canary.txt",
            f"root/.{CANARY.decode()}", "root/.env", "root/.htpasswd", "root/.canary.html", "root/.git/config",
            "root/.hidden/canary.txt", "root/.well-known/.env", "root/sub/.secret", "root/sub/.well-known/canary.txt"):
        write(base / path, text)
    for path in ("index.html", "page.html", "leak.js", "sub/deep/leaf.txt", ".well-known/seen.txt"):
        write(base / "root" / path, SHOWN)
    (base / "root/led").mkdir()
    for name, to in {
        "inside": "sub", "out": "../canary.txt", "out-absolute": f"{base}/canary.txt", "out-twice": "out", "up": "..",
        "top": "/", "sub/up": "../../secret", "through": "sub/up/canary.txt", "leak.js.br": "../canary.txt",
        "led/index.html": "../../canary.txt", "self": "/proc/self", "loop": "loop",
    }.items():
        (base / "root" / name).symlink_to(to)
    os.mkfifo(base / "root/pipe")
    with socket.socket(socket.AF_UNIX) as made:
        # By a short name: the whole one may be too long for an address.
        here = os.getcwd()
        os.chdir(base / "root")
        made.bind("socket")
        os.chdir(here)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)


# --- The questions ----------------------------------------------------------------------------


def ask(port, target, fields):
    """What comes until the connection ends, or is more than anything that is shown."""
    came = b""
    sent = b"GET " + target + b" HTTP/1.1\r\nhost: files.test\r\n" + fields + b"connection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
        try:
            client.sendall(sent)
            while len(came) < MOST_BYTES and (piece := client.recv(1 << 16)):
                came += piece
        except TimeoutError:
            raise Surprise(f"no end after {SECONDS} s: sent {brief(sent)}, came {brief(came)}") from None
        except OSError:
            pass  # It has had enough of what it does not want to hear.
    return sent, came


def judge(sent, came, listed):
    """The status of an answer that may be; empty if the connection was closed without one."""
    def surprise(what):
        return Surprise(f"{what}: sent {brief(sent)}, came {brief(came)}")

    if CANARY in came:
        raise surprise("the canary")
    head, _, body = came.partition(b"\r\n\r\n")
    status = head[9:12].decode(errors="replace")
    if not came:
        return ""
    if not head.startswith(b"HTTP/1.") or not "200" <= status < "500":
        raise surprise("no such answer")
    fields = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    for name, _, value in fields:
        where = value.strip()
        if name.lower() == b"location" and (not where.startswith(b"/") or where[1:2] in (b"/", b"\\")):
            raise surprise("it leads elsewhere")
        if name.lower() == b"x-canary":
            raise surprise("a field of the path's")
    if status[0] == "2" and not listed and body != SHOWN:
        raise surprise("that is nothing that is shown")
    return status


def brief(text):
    return repr(text if len(text) < 400 else text[:380] + b"...")


def targets(base, corpus):
    lines = corpus.read_bytes().split(b"\n")
    found = [line.replace(b"{base}", bytes(base)) for line in lines if line and not line.startswith(b"#")]
    return found + BYTES


def question(base, corpus, port, listed):
    counts = collections.Counter()
    for target in targets(base, corpus):
        for fields in WAYS:
            counts[judge(*ask(port, target, fields), listed) or "closed"] += 1
    # It lives, and what is shown is shown: else no canary means nothing.
    for path in (b"/", b"/page.html", b"/sub/deep/leaf.txt", b"/inside/deep/leaf.txt", b"/files/page.html"):
        sent, came = ask(port, path, b"")
        if not came.startswith(b"HTTP/1.1 200 ") or not came.endswith(b"\r\n\r\n" + SHOWN):
            raise Surprise(f"what is shown: sent {brief(sent)}, came {brief(came)}")
    told = ", ".join(f"{count} of {status}" for status, count in sorted(counts.items()))
    print(f"{sum(counts.values())} answers: {told}")


def main():
    order, base, *more = sys.argv[1:]
    base = pathlib.Path(base).resolve()
    if order == "make":
        make(base)
        return
    try:
        question(base, pathlib.Path(more[0]), int(more[1]), more[2:] == ["listed"])
    except (Surprise, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
