"""Static files: small, middling, large, many, not modified, and to a thousand slow readers."""

import hashlib
import time

import clients
from folders import FOLDERS, HUGE_BYTES, LARGE_BYTES, MANY, folder
from machine import Failure
from measure import CONNECTIONS, Scenario, fresh, throughput, wrk

LARGE_CONNECTIONS = 8
READERS, READ_SECONDS = 1000, 5
# An answer without a body is shorter, head and all.
HEAD_MOST_BYTES = 800


def shown(bench, name):
    """A fresh server of the folder."""
    return fresh(bench, name, FOLDERS[name])


def sent(path, load=None, connections=CONNECTIONS, in_bytes=False):
    return throughput(
        shown, lambda bench, subject: whole(bench, subject, path), load or wrk(f"/{path}", connections),
        in_bytes=in_bytes)


def whole(bench, subject, path):
    """A subject that answers wrongly measures nothing."""
    expected = (folder(bench) / path).read_bytes()
    try:
        status, body, _ = clients.get(subject.port, f"/{path}")
    except (OSError, ValueError, clients.http.client.HTTPException) as error:
        raise Failure(f"does not answer: {error!r}; {subject.process.error()}") from None
    if status != 200 or hashlib.sha256(body).digest() != hashlib.sha256(expected).digest():
        raise Failure(f"answers {status} with {len(body)} bytes: {body[:200]!r}")


def not_modified(path):
    """Asks with the tag that the subject itself has given, or with its date if it gives no tag."""

    def load(bench, subject, seconds):
        fields = clients.fields(subject.port, path)
        if tag := fields.get("etag"):
            condition = f"If-None-Match: {tag}"
        elif date := fields.get("last-modified"):
            condition = f"If-Modified-Since: {date}"
        else:
            raise Failure("gives neither ETag nor Last-Modified")
        found = wrk(path, fields=[condition])(bench, subject, seconds)
        # wrk takes every 200 for well.
        if found["requests"] and found["bytes"] / found["requests"] > HEAD_MOST_BYTES:
            raise Failure(f"does not answer 304 to {condition}")
        return found

    return load


def slow_readers(bench, name, _seconds):
    """Memory that is the process's own: not what it maps of the file, nor the kernel's buffers."""
    if bench.files < READERS + 500:
        raise Failure(f"{bench.files} open files are too few for {READERS} readers (ulimit -n)")
    with shown(bench, name) as subject:
        whole(bench, subject, "1k.html")
        process = subject.process
        process.reset_peak()
        before = process.anonymous_bytes()
        most, done = before, 0
        try:
            with clients.slow_readers(subject.port, "/huge.bin", HUGE_BYTES, READERS) as readers:
                until = time.monotonic() + READ_SECONDS
                while time.monotonic() < until:
                    done = readers()
                    most = max(most, process.anonymous_bytes())
        except (OSError, IndexError, ValueError) as error:
            raise Failure(f"does not serve {READERS} readers: {error!r}") from None
        peak = process.peak_bytes()
    lost = READERS - done
    return {
        "figure": (most - before) / READERS / 1024,
        "before_bytes": before,
        "with_all_bytes": most,
        "peak_bytes": peak,
        "requests": READERS,
        "errors": {"lost": lost} if lost else {},
    }


SCENARIOS = {
    "S7": Scenario(
        f"a file of 1 KB, {CONNECTIONS} connections", "req/CPU-s", sent("1k.html"), line=0.8, static=True),
    "S7b": Scenario(
        f"a file of 100 KB, {CONNECTIONS} connections", "req/CPU-s", sent("100k.js"), line=0.8, static=True),
    "S7c": Scenario(
        f"a file of {LARGE_BYTES // 1_000_000} MB, {LARGE_CONNECTIONS} connections", "MB/CPU-s",
        sent("10m.bin", connections=LARGE_CONNECTIONS, in_bytes=True), line=0.9, static=True),
    "S7d": Scenario(
        f"one of {MANY} files of 1 KB at random, {CONNECTIONS} connections", "req/CPU-s",
        sent("many/0.html", wrk("/many/", files=MANY)), line=0.8, static=True),
    "S7e": Scenario(
        f"304, {CONNECTIONS} connections", "req/CPU-s",
        sent("1k.html", not_modified("/1k.html")), line=0.8, static=True),
    "S7f": Scenario(
        f"{READERS} readers of a file of 1 GiB, 4 KB/s each", "KB each", slow_readers, static=True),
}
