"""The servers of static files that are compared, and the folder that they show.

Each as a careful operator would set it up for this: one worker, no access log, nothing compressed for
who does not ask for it. What deviates from a program's defaults says why.
"""

import os
import pathlib
import random

from machine import Failure

LARGE_BYTES = 10_000_000
HUGE_BYTES = 1 << 30
MANY = 10_000
# Printable, and nothing that any of them would take for compressed.
LETTERS = b"abcdefghijklmnopqrstuvwxyz 0123456789\n"
SIZES = {"1k.html": 1_000, "100k.js": 100_000, "10m.bin": LARGE_BYTES}


def folder(bench):
    """What is shown; made once. `huge.bin` has no blocks, `many` the files of the random load."""
    www = bench.folder / "www"
    if www.exists():
        return www
    (www / "many").mkdir(parents=True)
    dice = random.Random(7)
    for name, size in SIZES.items():
        (www / name).write_bytes(letters(dice, size))
    for number in range(MANY):
        (www / f"many/{number}.html").write_bytes(letters(dice, 1_000))
    with open(www / "huge.bin", "wb") as huge:
        huge.truncate(HUGE_BYTES)
    return www


def letters(dice, size):
    return bytes(dice.choices(LETTERS, k=min(size, 1_000))) * (size // min(size, 1_000))


def nginx(bench, subject):
    return bench.nginx(subject.name, f"""
        include /etc/nginx/mime.types;
        sendfile on;
        tcp_nopush on;
        # More than there are files: none of the random load is opened again. That one has changed
        # is seen after `open_file_cache_valid`, 60 s by default.
        open_file_cache max={2 * MANY} inactive=60s;
        server {{
            listen 127.0.0.1:{subject.port} backlog=4096;
            root {folder(bench)};
            # What does not fit into one packet is not held back: over loopback, where the reader's
            # core does what is left to it then, 2.7 times as much for each CPU-second. Small answers
            # gain a tenth by the other way.
            location /100k.js {{ tcp_nopush off; }}
            location /10m.bin {{ tcp_nopush off; }}
        }}""")


def caddy(bench, subject):
    config = bench.folder / "Caddyfile"
    config.write_text(f"""
{{
    admin off
    auto_https off
    log {{
        level ERROR
    }}
}}
http://:{subject.port} {{
    bind 127.0.0.1
    root * {folder(bench)}
    file_server
}}
""")
    # One thread that runs Go, as the others have one worker. It keeps its own notes below HOME.
    return ["env", "GOMAXPROCS=1", f"HOME={bench.folder}", f"XDG_CONFIG_HOME={bench.folder}",
            f"XDG_DATA_HOME={bench.folder}", "caddy", "run", "--config", config, "--adapter", "caddyfile"]


def static_web_server(bench, subject):
    program = os.environ.get("STATIC_WEB_SERVER", "")
    if not program:
        raise Failure("there is no binary: it could not be built, and STATIC_WEB_SERVER names none")
    # A thread for each core that it may use, which is one. It would compress by default, for who asks.
    return [program, "--host", "127.0.0.1", "--port", subject.port, "--root", folder(bench),
            "--threads-multiplier", "1", "--log-level", "error", "--compression", "false"]


def risefall(bench, subject):
    program = os.environ.get("RISEFALL", "")
    if not program:
        raise Failure("RISEFALL names no binary")
    config = bench.folder / f"{subject.name}.files.toml"
    config.write_text(f"""
[process]
threads = 1

[log]
access = "off"

[admin]
listen = "off"

[site.bench]
listen = "127.0.0.1:{subject.port}"

[[site.bench.route]]
root = "{folder(bench)}"
""")
    return [program, "run", "-c", config]


FOLDERS = {
    "risefall": risefall,
    "nginx": nginx,
    "caddy": caddy,
    "static-web-server": static_web_server,
}
