"""Processes, and what the kernel says of them: CPU time, memory, who else was on the core."""

import os
import pathlib
import random
import signal
import socket
import subprocess
import time

PROXY_CORE, LOAD_CORE = 0, 1
# Below the range that the kernel gives to clients: nobody's connection sits on one of these.
PORTS = range(20_000, 32_000)
START_SECONDS = 10
END_SECONDS = 5
TICKS = os.sysconf("SC_CLK_TCK")

started = []
given = set()


class Failure(Exception):
    """A subject or a load that did not do its part; the text says why."""


def free_port():
    """A port on 127.0.0.1 that nothing holds, and that was not given out before."""
    while True:
        port = random.choice(PORTS)
        if port in given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        given.add(port)
        return port


def on_core(core, command):
    return ["taskset", "-c", str(core), *map(str, command)]


class Process:
    """One server and its children, from start to end."""

    def __init__(self, name, core, command, folder, port):
        self.name = name
        self.said = pathlib.Path(folder) / f"{name}.err"
        with open(self.said, "wb") as said:
            try:
                self.popen = subprocess.Popen(
                    on_core(core, command), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            except OSError as error:
                raise Failure(str(error)) from None
        started.append(self)
        try:
            self.wait_for(port)
        except Failure:
            self.end()
            raise

    def wait_for(self, port):
        until = time.monotonic() + START_SECONDS
        while self.popen.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > until:
                    raise Failure(f"does not listen after {START_SECONDS} s: {self.error()}") from None
                time.sleep(0.02)
        raise Failure(f"ended with code {self.popen.returncode}: {self.error()}")

    def error(self):
        text = self.said.read_text(errors="replace").strip()
        return text[-2000:] or "(it said nothing)"

    def pids(self):
        """Its own and its children's: nginx works in a child."""
        found = [self.popen.pid]
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            fields = after_name(stat)
            if fields and int(fields[1]) == self.popen.pid:
                found.append(int(stat.parent.name))
        return found

    def cpu_seconds(self):
        return sum(cpu_seconds(pid) for pid in self.pids())

    def reset_peak(self):
        for pid in self.pids():
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_bytes(self):
        """Of the largest process: what a worker shares with its parent is not counted twice."""
        return max(kilobytes(f"/proc/{pid}/status", "VmHWM") for pid in self.pids()) * 1024

    def resident_bytes(self):
        return sum(kilobytes(f"/proc/{pid}/smaps_rollup", "Rss") for pid in self.pids()) * 1024

    def anonymous_bytes(self):
        """Without what is mapped of files."""
        return sum(kilobytes(f"/proc/{pid}/status", "RssAnon") for pid in self.pids()) * 1024

    def end(self):
        """By pid, the children too if their parent does not take them along."""
        if self not in started:
            return
        pids = self.pids()
        self.popen.terminate()
        try:
            self.popen.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in reversed(pids):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.popen.wait()
        # Only now: a signal in between must leave it to `end_all`.
        started.remove(self)


def end_all():
    for process in list(started):
        process.end()


def after_name(stat):
    """The fields of a `stat` from the state on; nothing if the process is gone."""
    try:
        return pathlib.Path(stat).read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def cpu_seconds(pid):
    """From the scheduler's nanoseconds. The ticks also know threads that have ended."""
    fields = after_name(f"/proc/{pid}/stat")
    ticks = sum(map(int, fields[11:13])) / TICKS
    threads = 0
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            threads += int(task.read_text().split()[0])
        except OSError:
            pass
    return max(ticks, threads / 1e9)


def kilobytes(path, name):
    for line in pathlib.Path(path).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def core_busy_seconds(core):
    """Everything that ran on the core, also what the hypervisor took."""
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, line.split()[1:9])
            return (user + nice + system + irq + softirq + steal) / TICKS
    return 0.0


class Watch:
    """What a process spent between two moments, and what others spent on its core."""

    def __init__(self, process):
        self.process = process
        process.reset_peak()
        self.began = time.monotonic()
        self.cpu = process.cpu_seconds()
        self.busy = core_busy_seconds(PROXY_CORE)

    def stop(self):
        cpu = self.process.cpu_seconds() - self.cpu
        seconds = time.monotonic() - self.began
        others = core_busy_seconds(PROXY_CORE) - self.busy - cpu
        return {
            "cpu_seconds": cpu,
            "seconds": seconds,
            "core_share": cpu / seconds,
            "others_share": max(0.0, others) / seconds,
            "peak_bytes": self.process.peak_bytes(),
        }


def run_load(command, seconds):
    """A load generator to its end, on the core of the loads; what it printed."""
    try:
        done = subprocess.run(
            on_core(LOAD_CORE, command), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=seconds + 30)
    except FileNotFoundError as error:
        raise Failure(str(error)) from None
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} did not end") from None
    if done.returncode:
        raise Failure(f"{command[0]}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout
