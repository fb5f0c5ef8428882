"""What scenarios are made of: a fresh subject, a load, and what the load cost the subject."""

import contextlib
import dataclasses
import json
import pathlib
import re
from collections.abc import Callable

from machine import Failure, Watch, run_load
from subjects import Subject

CONNECTIONS = 64
WARM_SECONDS = 1


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
    static: bool = False


@contextlib.contextmanager
def fresh(bench, name, command):
    """A subject of its own for each measurement: none inherits another's memory or knowledge."""
    subject = Subject(bench, name, command)
    try:
        yield subject
    finally:
        subject.process.end()


def throughput(start, check, load, in_bytes=False):
    """Warms a fresh subject up, then loads it and divides the work by its CPU-seconds.

    `start` makes the subject, and `check` fails if it answers wrongly; it returns the cipher, if any.
    """

    def run(bench, name, seconds):
        with start(bench, name) as subject:
            cipher = check(bench, subject)
            load(bench, subject, WARM_SECONDS)
            watch = Watch(subject.process)
            found = load(bench, subject, seconds)
            spent = watch.stop()
        if not spent["cpu_seconds"] or not found["requests"]:
            raise Failure("no work was done")
        work = found["bytes"] / 1e6 if in_bytes else found["requests"]
        found |= spent
        found["figure"] = work / spent["cpu_seconds"]
        found["rate"] = work / found["seconds"]
        if cipher:
            found["cipher"] = cipher
        return found

    return run


# --- Loads ------------------------------------------------------------------------------------


def wrk(path, connections=CONNECTIONS, tls=False, fields=(), files=0):
    """`files` is how many there are below the path, if it is to be one of them at random."""

    def load(_bench, subject, seconds):
        script = pathlib.Path(__file__).parent / "wrk.lua"
        options = [part for field in fields for part in ("-H", field)]
        said = run_load(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "8s", "-s", script,
             *options, subject.url(path, tls), "--", files], seconds)
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
