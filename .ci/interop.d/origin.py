"""An origin whose answers show what reached it. Prints its port, then serves until it is killed.

With `--hold` nothing is accepted: only the port is held open, with a queue of one.
"""

import hashlib
import http.server
import os
import subprocess
import sys
import time
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        """The request's body in pieces, whichever way it is framed."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return
        left = int(self.headers.get("content-length", 0))
        while left and (piece := self.rfile.read(min(left, 1 << 16))):
            left -= len(piece)
            yield piece

    def answer(self, body, status=200, **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunks(self, pieces):
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        if url.path == "/hello":
            self.answer(b"hello\n", content_type="text/plain")
        elif url.path == "/head":
            # What came in, as it came: the request line and the fields.
            self.answer(f"{self.requestline}\n{self.headers}".encode())
        elif url.path == "/peer":
            self.answer(f"{self.client_address[1]}\n".encode())
        elif url.path == "/drip":
            # A piece at a time: a proxy that gathers them shows in the time to the first.
            def pieces():
                for number in range(int(query["pieces"])):
                    if number:
                        time.sleep(float(query["pause"]))
                    yield b"%d\n" % number

            self.chunks(pieces())
        elif url.path == "/endless":
            self.send_response(200)
            if "length" in query:
                self.send_header("content-length", query["length"])
            else:
                self.send_header("connection", "close")
            self.end_headers()
            while True:
                self.wfile.write(bytes(1 << 16))
                time.sleep(0.02)
        elif url.path.startswith("/git/"):
            self.git(url)
        else:
            self.answer(b"no such page\n", status=404)

    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path.startswith("/git/"):
            self.git(url)
            return
        digest, length = hashlib.sha256(), 0
        for piece in self.body():
            digest.update(piece)
            length += len(piece)
        framing = "chunked" if "transfer-encoding" in self.headers else "length"
        self.answer(f"{digest.hexdigest()} {length} {framing}\n".encode())

    def git(self, url):
        """The smart protocol, by git's own CGI program."""
        environment = dict(
            os.environ,
            GIT_PROJECT_ROOT=os.environ["GIT_ROOT"],
            GIT_HTTP_EXPORT_ALL="1",
            PATH_INFO=url.path.removeprefix("/git"),
            QUERY_STRING=url.query,
            REQUEST_METHOD=self.command,
            CONTENT_TYPE=self.headers.get("content-type", ""),
            HTTP_CONTENT_ENCODING=self.headers.get("content-encoding", ""),
            REMOTE_USER="someone",
        )
        if protocol := self.headers.get("git-protocol"):
            environment["GIT_PROTOCOL"] = protocol
        ran = subprocess.run(
            ["git", "http-backend"],
            env=environment,
            input=b"".join(self.body()),
            stdout=subprocess.PIPE,
            check=True,
        )
        head, _, body = ran.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(fields.pop("Status", "200").split()[0])
        self.answer(body, status, **fields)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """Clients that leave in the middle are what the checks are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def main():
    if "--hold" in sys.argv:
        Server.request_queue_size = 1
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    if "--hold" in sys.argv:
        while True:
            time.sleep(3600)
    server.serve_forever()


if __name__ == "__main__":
    main()
