"""The proxies that are compared, and the origin behind them: their configurations.

Each as someone would set it up who knows it and wants it fast: one worker, no access log, kept
connections to the servers, the two forwarded fields that services ask for. What deviates from a
program's defaults says why. In the fault scenarios (`S11*`) everything that decides what happens to
a dead server is left at its default; the variants with a `+` show what its own options make of it.
"""

import os
import pathlib
import resource
import subprocess

from machine import LOAD_CORE, PROXY_CORE, Failure, Process, free_port

SMALL = b"0123456789" * 9 + b"abcdefghi\n"
LARGE_BYTES = 10_000_000
# The cipher that both load generators ask for first, and that a server without an opinion takes.
CIPHER = "TLS_AES_256_GCM_SHA384"
# Nobody's default, to end no connection in the middle of a measurement.
MANY_REQUESTS = 1_000_000_000


def files_limit():
    """As many open files as we may have; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Bench:
    """What all subjects of a run share: a folder, a certificate, an origin."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        # nginx's worker is another user when its master is root.
        self.folder.chmod(0o755)
        self.files = files_limit()
        self.certificate()
        # Two addresses, for two servers that are both well: one server twice is a mistake.
        self.origin_port, self.other_port = free_port(), free_port()
        self.origin = Process("origin", LOAD_CORE, self.origin_command(), folder, self.origin_port)

    def certificate(self):
        pem, key = self.folder / "bench.pem", self.folder / "bench.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=bench.test", "-keyout", key, "-out", pem,
             "-addext", "subjectAltName=DNS:bench.test,DNS:localhost,IP:127.0.0.1"],
            check=True, capture_output=True)
        (self.folder / "both.pem").write_text(pem.read_text() + key.read_text())

    def origin_command(self):
        root = self.folder / "origin"
        root.mkdir()
        (root / "small").write_bytes(SMALL)
        (root / "large").write_bytes(os.urandom(LARGE_BYTES))
        return self.nginx("origin", f"""
            sendfile on;
            tcp_nopush on;
            open_file_cache max=10 inactive=1h;
            server {{
                listen 127.0.0.1:{self.origin_port} backlog=4096;
                listen 127.0.0.1:{self.other_port} backlog=4096;
                root {root};
                default_type text/plain;
            }}""")

    def nginx(self, name, http):
        """An nginx of one worker with this inside of its `http`."""
        prefix = self.folder / f"{name}.nginx"
        (prefix / "temp").mkdir(parents=True, exist_ok=True)
        temp = "\n".join(
            f"{kind}_temp_path {prefix}/temp/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = prefix / "nginx.conf"
        config.write_text(f"""
            daemon off;
            worker_processes 1;
            pid {prefix}/pid;
            error_log stderr crit;
            worker_rlimit_nofile {self.files};
            events {{ worker_connections {min(self.files, 16384)}; }}
            http {{
                access_log off;
                tcp_nodelay on;
                # 1000 requests and 75 s by default.
                keepalive_requests {MANY_REQUESTS};
                keepalive_timeout 600s;
                {temp}
                {http}
            }}""")
        return ["nginx", "-p", prefix, "-c", config, "-e", "stderr"]


class Subject:
    """One proxy or server of files, running: where it listens, and its process."""

    def __init__(self, bench, name, command):
        self.name = name
        self.port, self.tls_port = free_port(), free_port()
        self.process = Process(name, PROXY_CORE, command(bench, self), bench.folder, self.port)

    def url(self, path, tls=False):
        return f"https://127.0.0.1:{self.tls_port}{path}" if tls else f"http://127.0.0.1:{self.port}{path}"


def nginx(bench, subject, servers, tls, extra=""):
    # Sessions as the others keep them: by ticket and in a cache.
    listen_tls = f"""
        listen 127.0.0.1:{subject.tls_port} ssl http2 backlog=4096;
        ssl_certificate {bench.folder}/bench.pem;
        ssl_certificate_key {bench.folder}/bench.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_conf_command Ciphersuites {CIPHER};
        ssl_session_cache shared:tls:10m;""" if tls else ""
    members = "\n".join(f"server {server};" for server in servers)
    return bench.nginx(subject.name, f"""
        upstream app {{
            {members}
            # More than the most requests at once of any scenario (160 streams).
            keepalive 256;
            keepalive_requests {MANY_REQUESTS};
            keepalive_timeout 600s;
        }}
        server {{
            listen 127.0.0.1:{subject.port} backlog=4096;
            {listen_tls}
            location / {{
                proxy_pass http://app;
                # Without these two it speaks 1.0 to the servers and keeps no connection.
                proxy_http_version 1.1;
                proxy_set_header Connection "";
                proxy_set_header Host $host;
                proxy_set_header X-Forwarded-For $remote_addr;
                proxy_set_header X-Forwarded-Proto $scheme;
                # A large body goes through memory in larger pieces (1.7 times as much for each
                # CPU-second here; larger ones gained nothing), and never to a disk.
                proxy_buffers 8 64k;
                proxy_busy_buffers_size 128k;
                proxy_max_temp_file_size 0;
                {extra}
            }}
        }}""")


def nginx_timeout(bench, subject, servers, tls):
    """The default waits a minute for a connection: nobody who has met a dead server keeps that."""
    return nginx(bench, subject, servers, tls, "proxy_connect_timeout 1s;")


def haproxy(bench, subject, servers, tls, extra="", check=""):
    bind_tls = (f"bind 127.0.0.1:{subject.tls_port} ssl crt {bench.folder}/both.pem "
                "alpn h2,http/1.1 backlog 4096") if tls else ""
    members = "\n".join(
        f"    server s{number} {server} {check}" for number, server in enumerate(servers))
    config = bench.folder / f"{subject.name}.cfg"
    # Two files a connection and two a pipe, of which it would want one for each fourth connection.
    most = min(8000, bench.files // 2 - 500)
    # `always` lets a new client's first request take a kept connection too, as nginx does.
    # Bodies are spliced: 2.5 times as much for each CPU-second here; `splice-auto` never did, and
    # larger pipes gained nothing. The connect timeout has no default; 5 s is what Debian's own file
    # and the manual's examples say.
    config.write_text(f"""
global
    nbthread 1
    maxconn {most}
    maxpipes 200
    ssl-default-bind-ciphersuites {CIPHER}
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
    http-reuse always
    option splice-response
    {extra}
frontend bench
    bind 127.0.0.1:{subject.port} backlog 4096
    {bind_tls}
    option forwardfor
    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
    default_backend app
backend app
    balance roundrobin
{members}
""")
    return ["haproxy", "-db", "-f", config]


def haproxy_check(bench, subject, servers, tls):
    """Checks every second, and a retry goes to another server."""
    return haproxy(bench, subject, servers, tls, "option redispatch 1", "check inter 1s fall 2 rise 2")


def risefall(bench, subject, servers, tls):
    program = os.environ.get("RISEFALL", "")
    if not program:
        raise Failure("RISEFALL names no binary")
    listen_tls = (f'tls = {{ cert = "{bench.folder}/bench.pem", key = "{bench.folder}/bench.key", '
                  f'listen = ["127.0.0.1:{subject.tls_port}"] }}') if tls else ""
    members = ", ".join(f'"{server}"' for server in servers)
    config = bench.folder / f"{subject.name}.toml"
    config.write_text(f"""
[process]
threads = 1

[log]
access = "off"

[admin]
listen = "off"

[upstream.app]
servers = [{members}]

[site.bench]
listen = "127.0.0.1:{subject.port}"
{listen_tls}

[[site.bench.route]]
path = "/"
upstream = "app"
""")
    return [program, "run", "-c", config]


def bare(bench, subject, servers, tls):
    """The engine alone, for what it sets a floor to: it has one listener and one server."""
    program = os.environ.get("BARE", "")
    if not program:
        raise Failure("BARE names no binary")
    if not tls:
        return [program, "bare", "--listen", f"127.0.0.1:{subject.port}", "--to", servers[0]]
    # It is waited for where it listens.
    subject.port = subject.tls_port
    return [program, "bare", "--listen", f"127.0.0.1:{subject.tls_port}", "--to", servers[0],
            "--cert", f"{bench.folder}/bench.pem", "--key", f"{bench.folder}/bench.key"]


COMMANDS = {
    "risefall": risefall,
    "bare": bare,
    "nginx": nginx,
    "haproxy": haproxy,
    "nginx+timeout": nginx_timeout,
    "haproxy+check": haproxy_check,
}
# Which variants stand beside which subject in the fault scenarios.
VARIANTS = {"nginx": ["nginx+timeout"], "haproxy": ["haproxy+check"]}
