"""What is measured: each scenario loads one running subject once and says what came of it."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import re
import time
from collections.abc import Callable

import clients
from machine import Failure, Watch, run_load
from subjects import LARGE_BYTES, SMALL, VARIANTS, Subject

CONNECTIONS = 64
LARGE_CONNECTIONS = 8
STREAM_CLIENTS, STREAMS = 16, 10
STEADY_CONNECTIONS, STEADY_RATE = 50, 3000
WARM_SECONDS = 1
IDLE, IDLE_SETTLE_SECONDS = 5000, 2
FAULT_RATE, FAULT_SECONDS, FAULT_PATIENCE = 500, 10, 8


@dataclasses.dataclass(frozen=True)
class Scenario:
    """`line` is what risefall's ratio to the best peer must reach; faults and memory have limits."""

    title: str
    unit: str
    run: Callable
    line: float | None = None
    most: dict | None = None
    tls: bool = False
    faults: bool = False


# --- Throughput -------------------------------------------------------------------------------


def throughput(load, tls=False, large=False):
    """Warms a fresh subject up, then loads it and divides the work by its CPU-seconds."""

    def run(bench, name, seconds):
        with fresh(bench, name, [bench.origin_port], tls) as subject:
            cipher = check(bench, subject, tls, large)
            load(bench, subject, WARM_SECONDS)
            watch = Watch(subject.process)
            found = load(bench, subject, seconds)
            spent = watch.stop()
        if not spent["cpu_seconds"] or not found["requests"]:
            raise Failure("no work was done")
        work = found["bytes"] / 1e6 if large else found["requests"]
        found |= spent
        found["figure"] = work / spent["cpu_seconds"]
        found["rate"] = work / found["seconds"]
        if cipher:
            found["cipher"] = cipher
        return found

    return run


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


def wrk(path, connections=CONNECTIONS, tls=False, fields=()):
    def load(_bench, subject, seconds):
        script = pathlib.Path(__file__).parent / "wrk.lua"
        options = [part for field in fields for part in ("-H", field)]
        said = run_load(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "8s", "-s", script,
             *options, subject.url(path, tls)], seconds)
        found = json.loads(said.rpartition("JSON ")[2])
        found["errors"] = {what: count for what, count in found["errors"].items() if count}
        return found

    return load


def h2load(path, options, tls=False):
    def load(bench, subject, seconds):
        log = bench.folder / "h2load.log"
        log.unlink(missing_ok=True)
        said = run_load(
            ["h2load", "-t1", f"-D{seconds}", f"--log-file={log}", *options, subject.url(path, tls)],
            seconds)
        return h2load_found(said, log)

    return load


def h2load_found(said, log):
    """Counts from its own words, the percentiles from its line for each request."""
    counts = re.search(r"(\d+) total, .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", said)
    if not counts:
        raise Failure(f"h2load: {said.strip()[-300:]}")
    # What the end of the time cut off is neither.
    _, succeeded, _, errored, late = map(int, counts.groups())
    statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)
    wrong = sum(map(int, statuses.groups()[1:]))
    times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    if not times:
        raise Failure(f"h2load: no answer; {said.strip()[-300:]}")
    spent = re.search(r"finished in ([\d.]+)(ms|s)", said)
    errors = {"errored": errored, "timeout": late, "status": wrong}
    return {
        "requests": succeeded,
        "bytes": 0,
        "seconds": float(spent[1]) / (1000 if spent[2] == "ms" else 1),
        "p50_ms": times[len(times) // 2] / 1e3,
        "p99_ms": times[len(times) * 99 // 100] / 1e3,
        "max_ms": times[-1] / 1e3,
        "errors": {what: count for what, count in errors.items() if count},
    }


# --- Memory -----------------------------------------------------------------------------------


def idle(bench, name, _seconds):
    if bench.files < IDLE + 1000:
        raise Failure(f"{bench.files} open files are too few for {IDLE} connections (ulimit -n)")
    with fresh(bench, name, [bench.origin_port], False) as subject:
        check(bench, subject, False, False)
        before = subject.process.resident_bytes()
        try:
            with clients.idle_connections(subject.port, IDLE) as connections:
                time.sleep(IDLE_SETTLE_SECONDS)
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
            subject = held.enter_context(fresh(bench, name, [first, bench.origin_port], False))
            watch = Watch(subject.process)
            found = clients.steady(subject.port, FAULT_RATE, FAULT_SECONDS, FAULT_PATIENCE)
            found |= watch.stop()
        found["figure"] = found["p99_ms"]
        return found

    return run


@contextlib.contextmanager
def fresh(bench, name, servers, tls):
    """A subject of its own for each measurement: none inherits another's memory or knowledge."""
    subject = Subject(bench, name, servers, tls)
    try:
        yield subject
    finally:
        subject.process.end()


def names(scenario, subjects):
    """The subjects of a scenario: in the faults, also the variants of those that were chosen, and
    not the bare engine, which knows one server."""
    if not scenario.faults:
        return subjects
    return [name for subject in subjects if subject != "bare"
            for name in [subject, *VARIANTS.get(subject, [])]]


SCENARIOS = {
    "S1": Scenario(
        f"keep-alive, {len(SMALL)} bytes, {CONNECTIONS} connections", "req/CPU-s",
        throughput(wrk("/small")), line=0.9),
    "S1r": Scenario(
        f"the same at {STEADY_RATE} req/s, {STEADY_CONNECTIONS} connections", "req/CPU-s",
        throughput(h2load("/small", [
            "--h1", f"-c{STEADY_CONNECTIONS}", f"--rps={STEADY_RATE // STEADY_CONNECTIONS}"]))),
    "S2": Scenario(
        f"new connection for each request, {CONNECTIONS} at once", "req/CPU-s",
        throughput(wrk("/small", fields=["Connection: close"])), line=0.9),
    "S3": Scenario(
        f"TLS, HTTP/1.1, keep-alive, {CONNECTIONS} connections", "req/CPU-s",
        throughput(wrk("/small", tls=True), tls=True), line=0.9, tls=True),
    "S3b": Scenario(
        f"TLS, HTTP/2, {STREAM_CLIENTS} connections of {STREAMS} streams", "req/CPU-s",
        throughput(h2load("/small", [f"-c{STREAM_CLIENTS}", f"-m{STREAMS}"], tls=True), tls=True),
        line=0.7, tls=True),
    "S4": Scenario(
        f"bodies of {LARGE_BYTES // 1_000_000} MB, {LARGE_CONNECTIONS} connections", "MB/CPU-s",
        throughput(wrk("/large", LARGE_CONNECTIONS), large=True), line=0.7),
    "S10": Scenario(
        f"{IDLE} idle connections", "KB each", idle, most={"figure": 8}),
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
