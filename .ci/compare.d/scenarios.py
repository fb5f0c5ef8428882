"""What is measured: each scenario loads one running subject once and says what came of it."""

import contextlib
import hashlib
import time

import clients
import static
from folders import FOLDERS
from machine import Failure, Watch
from measure import CONNECTIONS, Scenario, fresh, h2load, throughput, wrk
from subjects import COMMANDS, LARGE_BYTES, SMALL, VARIANTS

LARGE_CONNECTIONS = 8
STREAM_CLIENTS, STREAMS = 16, 10
STEADY_CONNECTIONS, STEADY_RATE = 50, 3000
IDLE, IDLE_SETTLE_SECONDS, IDLE_OTHERS = 5000, 2, 8
FAULT_RATE, FAULT_SECONDS, FAULT_PATIENCE = 500, 10, 8


def proxy(bench, name, servers, tls=False):
    """A fresh proxy to these servers."""
    return fresh(bench, name, lambda bench, subject: COMMANDS[name](
        bench, subject, [f"127.0.0.1:{port}" for port in servers], tls))


# --- Throughput -------------------------------------------------------------------------------


def proxied(load, tls=False, large=False):
    return throughput(
        lambda bench, name: proxy(bench, name, [bench.origin_port], tls),
        lambda bench, subject: check(bench, subject, tls, large), load, in_bytes=large)


def check(bench, subject, tls, large):
    """A subject that answers wrongly measures nothing. Returns the cipher, if any."""
    path, expected = "/small", SMALL
    if large:
        path, expected = "/large", (bench.folder / "origin/large").read_bytes()
    port = subject.tls_port if tls else subject.port
    try:
        status, body, cipher = clients.get(port, path, tls)
    except (OSError, ValueError, clients.http.client.HTTPException) as error:
        raise Failure(f"does not answer: {error!r}; {subject.process.error()}") from None
    if status != 200 or hashlib.sha256(body).digest() != hashlib.sha256(expected).digest():
        raise Failure(f"answers {status} with {len(body)} bytes: {body[:200]!r}")
    return cipher


# --- Memory -----------------------------------------------------------------------------------


def idle(bench, name, _seconds):
    if bench.files < IDLE + 1000:
        raise Failure(f"{bench.files} open files are too few for {IDLE} connections (ulimit -n)")
    with proxy(bench, name, [bench.origin_port]) as subject:
        check(bench, subject, False, False)
        before = subject.process.resident_bytes()
        try:
            with clients.idle_connections(subject.port, IDLE) as connections:
                time.sleep(IDLE_SETTLE_SECONDS)
                # Others go on: who gives memory back does so while there is work.
                wrk("/small", IDLE_OTHERS)(bench, subject, IDLE_SETTLE_SECONDS)
                with_all = subject.process.resident_bytes()
                alive = clients.alive(connections)
        except (OSError, IndexError, ValueError) as error:
            raise Failure(f"does not hold {IDLE} connections: {error!r}") from None
        peak = subject.process.peak_bytes()
    lost = IDLE - alive
    return {
        "figure": (with_all - before) / IDLE / 1024,
        "before_bytes": before,
        "with_all_bytes": with_all,
        "peak_bytes": peak,
        "requests": IDLE,
        "errors": {"lost": lost} if lost else {},
    }


# --- Faults -----------------------------------------------------------------------------------


def faulty(dead):
    """One of two servers is what `dead` makes; nobody has asked the subject before the load does."""

    def run(bench, name, _seconds):
        with contextlib.ExitStack() as held:
            first = held.enter_context(dead()) if dead else bench.other_port
            subject = held.enter_context(proxy(bench, name, [first, bench.origin_port]))
            watch = Watch(subject.process)
            found = clients.steady(subject.port, FAULT_RATE, FAULT_SECONDS, FAULT_PATIENCE)
            found |= watch.stop()
        found["figure"] = found["p99_ms"]
        return found

    return run


def names(scenario, subjects):
    """The subjects of a scenario: those that do such a thing. In the faults, also the variants of those
    that were chosen, and not the bare engine, which knows one server."""
    known = FOLDERS if scenario.static else COMMANDS
    subjects = [name for name in subjects if name in known]
    if not scenario.faults:
        return subjects
    return [name for subject in subjects if subject != "bare"
            for name in [subject, *VARIANTS.get(subject, [])]]


SCENARIOS = {
    "S1": Scenario(
        f"keep-alive, {len(SMALL)} bytes, {CONNECTIONS} connections", "req/CPU-s",
        proxied(wrk("/small")), line=0.9),
    "S1r": Scenario(
        f"the same at {STEADY_RATE} req/s, {STEADY_CONNECTIONS} connections", "req/CPU-s",
        proxied(h2load("/small", [
            "--h1", f"-c{STEADY_CONNECTIONS}", f"--rps={STEADY_RATE // STEADY_CONNECTIONS}"]))),
    "S2": Scenario(
        f"new connection for each request, {CONNECTIONS} at once", "req/CPU-s",
        proxied(wrk("/small", fields=["Connection: close"])), line=0.9),
    "S3": Scenario(
        f"TLS, HTTP/1.1, keep-alive, {CONNECTIONS} connections", "req/CPU-s",
        proxied(wrk("/small", tls=True), tls=True), line=0.9, tls=True),
    "S3b": Scenario(
        f"TLS, HTTP/2, {STREAM_CLIENTS} connections of {STREAMS} streams", "req/CPU-s",
        proxied(h2load("/small", [f"-c{STREAM_CLIENTS}", f"-m{STREAMS}"], tls=True), tls=True),
        line=0.7, tls=True),
    "S4": Scenario(
        f"bodies of {LARGE_BYTES // 1_000_000} MB, {LARGE_CONNECTIONS} connections", "MB/CPU-s",
        proxied(wrk("/large", LARGE_CONNECTIONS), large=True), line=0.7),
    **static.SCENARIOS,
    "S10": Scenario(
        f"{IDLE} idle connections beside {IDLE_OTHERS} busy ones", "KB each", idle, most={"figure": 8}),
    "S11": Scenario(
        f"two servers, both well, {FAULT_RATE} req/s for {FAULT_SECONDS} s", "p99 ms",
        faulty(None), faults=True),
    "S11a": Scenario(
        "the same, one of them refuses", "p99 ms",
        faulty(clients.refusing), most={"errors": 0, "p99_ms": 10}, faults=True),
    "S11b": Scenario(
        "the same, one of them is a black hole", "p99 ms",
        faulty(clients.black_hole), most={"errors": 0, "p99_ms": 50}, faults=True),
}
