"""risefall beside others: as a reverse proxy beside nginx, HAProxy and the bare engine; with static
files (S7*) beside nginx, Caddy and static-web-server. Run by `.ci/compare`, which see.

Each subject has one worker, alone on core 0; the load and the origin have core 1. Every measurement
is of a fresh process. The figure is work for each CPU-second of the subject: what a machine is bought
for, and steadier than a rate. The order of scenarios and subjects turns with each round.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import table
from folders import FOLDERS
from machine import LOAD_CORE, Failure, end_all
from scenarios import SCENARIOS, names
from subjects import COMMANDS, Bench

OURS, BARE = table.OURS, table.BARE
FOREIGN = "static-web-server"
SUBJECTS = [OURS, "nginx", "haproxy", BARE, "caddy", FOREIGN]
# Which package makes which subject's program, and what it is called there.
BUILT = {
    OURS: ("RISEFALL", "risefall-proxy", "risefall"),
    BARE: ("BARE", "risefall-load", "risefall-load"),
}


def main():
    chosen = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.cpu_count() < 2:
        sys.exit("compare: needs two cores")
    prepare(chosen)
    # Our own clients are load too.
    os.sched_setaffinity(0, {LOAD_CORE})
    with tempfile.TemporaryDirectory(prefix="compare.") as folder:
        try:
            runs = measure(Bench(folder), chosen)
        except Failure as error:
            sys.exit(f"compare: the origin {error}")
        except KeyboardInterrupt:
            sys.exit(130)
        finally:
            end_all()
    report = {"machine": machine(), "options": vars(chosen), "runs": runs}
    report["summary"] = table.summary(runs)
    print(table.markdown(report))
    if chosen.json:
        pathlib.Path(chosen.json).write_text(json.dumps(report, indent=1) + "\n")


def arguments():
    def listed(known):
        def parse(text):
            for name in (chosen := text.split(",")):
                if name not in known:
                    raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
            return chosen

        return parse

    def whole(text):
        if not text.isdigit() or not 1 <= int(text) <= 60:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 60")
        return int(text)

    parser = argparse.ArgumentParser(
        prog=".ci/compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"  {name:5}{each.title}" for name, each in SCENARIOS.items()))
    parser.add_argument("--only", type=listed(SCENARIOS), default=list(SCENARIOS), metavar="S1,S3")
    parser.add_argument("--subjects", type=listed(COMMANDS | FOLDERS), default=SUBJECTS, metavar=",".join(SUBJECTS))
    parser.add_argument("--rounds", type=whole, default=3, metavar="N")
    parser.add_argument("--seconds", type=whole, default=3, metavar="S", help="of each throughput run")
    parser.add_argument("--json", metavar="FILE", help="every run and the summary")
    return parser.parse_args()


def prepare(chosen):
    """The packages, and our own programs unless RISEFALL and BARE name them."""
    subprocess.run([pathlib.Path(__file__).parent / "prepare"], check=True)
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    measured = {name for scenario in chosen.only for name in names(SCENARIOS[scenario], chosen.subjects)}
    for subject, (variable, package, program) in BUILT.items():
        if subject not in measured or os.environ.get(variable):
            continue
        built = subprocess.run(["cargo", "build", "--release", "--quiet", "--locked", "-p", package])
        if built.returncode:
            sys.exit(f"compare: the build failed; {variable}=path takes a binary that is there")
        os.environ[variable] = str(pathlib.Path(target, "release", program).resolve())
    if FOREIGN in measured and not os.environ.get("STATIC_WEB_SERVER"):
        os.environ["STATIC_WEB_SERVER"] = foreign()


def foreign():
    """Debian has no static-web-server: it is built once, and kept. Empty if that fails."""
    if there := shutil.which(FOREIGN):
        return there
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "risefall-compare")
    program = cache / "bin" / FOREIGN
    if not program.exists():
        print(f"compare: builds {FOREIGN} into {cache}, once; this takes minutes", file=sys.stderr, flush=True)
        try:
            subprocess.run(["cargo", "install", "--quiet", "--locked", "--root", cache, FOREIGN], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"compare: {error}", file=sys.stderr)
    return str(program) if program.exists() else ""


def measure(bench, chosen):
    """Every run of every round. A subject that fails in a scenario is not tried there again."""
    runs, failed = [], {}
    for turn in range(chosen.rounds):
        for scenario in rotated(chosen.only, turn):
            subjects = names(SCENARIOS[scenario], chosen.subjects)
            for subject in rotated(subjects, turn) if subjects else []:
                if (scenario, subject) in failed:
                    continue
                run = {"scenario": scenario, "subject": subject, "round": turn + 1}
                began = time.monotonic()
                try:
                    run |= SCENARIOS[scenario].run(bench, subject, chosen.seconds)
                    told = f"{run['figure']:,.1f} {SCENARIOS[scenario].unit} {run['errors'] or ''}"
                except Failure as error:
                    failed[scenario, subject] = run["failure"] = told = str(error)
                print(f"round {turn + 1} {scenario:5}{subject:14} {told} "
                      f"[{time.monotonic() - began:.1f} s]", file=sys.stderr, flush=True)
                runs.append(run)
    return runs


def rotated(items, turn):
    by = turn % len(items)
    return items[by:] + items[:by]


def machine():
    """What the figures belong to."""
    cpu = next((line.split(": ")[1] for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    programs = {
        "nginx": ["nginx", "-v"], "haproxy": ["haproxy", "-v"], "caddy": ["caddy", "version"],
        FOREIGN: [os.environ.get("STATIC_WEB_SERVER") or FOREIGN, "--version"], "wrk": ["wrk", "-v"],
        "h2load": ["h2load", "--version"], "openssl": ["openssl", "version"],
        "risefall": [os.environ.get("RISEFALL") or "risefall", "--version"],
    }
    return {
        "cpu": f"{cpu}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "date": time.strftime("%Y-%m-%d"),
        "load": os.getloadavg()[0],
        "versions": {name: version(command) for name, command in programs.items()},
    }


def version(command):
    """The number in the first line that it says of itself."""
    if not shutil.which(command[0]):
        return None
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
    first = next(iter((done.stdout + done.stderr).strip().splitlines()), "")
    found = re.search(r"\d+(\.\d+)+\S*", first)
    return found[0] if found else first


if __name__ == "__main__":
    main()
