"""Clients of our own, for what the load generators cannot do. All speak HTTP/1.1 to 127.0.0.1."""

import asyncio
import collections
import contextlib
import http.client
import socket
import ssl
import time

REQUEST = b"GET /small HTTP/1.1\r\nhost: bench.test\r\n\r\n"
CONNECTIONS = 50
ANSWER_SECONDS = 10
QUEUE_MOST = 64
HANDSHAKE_SECONDS = 0.3
READ_BYTES, READ_PAUSE = 2048, 0.5


def get(port, path, tls=False):
    """Status and body of one request, and the cipher it came through."""
    if tls:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=ANSWER_SECONDS, context=ssl._create_unverified_context())
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"host": "bench.test"})
        answer = connection.getresponse()
        cipher = " ".join(map(str, connection.sock.cipher()[:2])) if tls and connection.sock else None
        return answer.status, answer.read(), cipher


def fields(port, path):
    """The fields of the answer, by their names in small letters."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"host": "bench.test"})
        answer = connection.getresponse()
        answer.read()
        return {name.lower(): value for name, value in answer.getheaders()}


# --- Faults -----------------------------------------------------------------------------------


@contextlib.contextmanager
def refusing():
    """A port that refuses: held, so that nobody else listens there, but not listened on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextlib.contextmanager
def black_hole():
    """A port that is silent: its queue is kept full, and the kernel drops what else comes."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(QUEUE_MOST):
            filler = held.enter_context(socket.socket())
            filler.settimeout(HANDSHAKE_SECONDS)
            try:
                filler.connect(listener.getsockname())
            except TimeoutError:
                filler.close()
                break
        else:
            raise OSError(f"{QUEUE_MOST} connections do not fill a queue of none")
        yield listener.getsockname()[1]


# --- A fixed rate -----------------------------------------------------------------------------


class Steady:
    """Requests at a fixed rate, whether or not earlier ones are answered, each with patience.

    The first ones open a connection each; later ones take the one that has rested longest, or
    open another if all are in use: nobody waits for somebody else's answer.
    """

    def __init__(self, port, rate, seconds, patience):
        self.port, self.rate, self.seconds, self.patience = port, rate, seconds, patience
        self.idle = collections.deque()
        self.opened = 0
        self.latencies, self.errors = [], collections.Counter()
        self.late = 0.0

    async def run(self):
        tasks = []
        began = time.monotonic()
        for number in range(int(self.rate * self.seconds)):
            due = began + number / self.rate
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            self.late = max(self.late, time.monotonic() - due)
            tasks.append(asyncio.create_task(self.one()))
        await asyncio.gather(*tasks)
        for _, writer in self.idle:
            writer.close()

    async def one(self):
        began = time.monotonic()
        held = []
        try:
            async with asyncio.timeout(self.patience):
                status = await self.ask(held)
            if status != b"200":
                self.errors[status.decode(errors="replace")] += 1
        except TimeoutError:
            self.errors["timeout"] += 1
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            self.errors["closed"] += 1
        finally:
            for writer in held:
                writer.close()
        self.latencies.append(time.monotonic() - began)

    async def ask(self, held):
        """One request; its writer is in `held` for as long as it may not be used again."""
        if self.idle and self.opened >= CONNECTIONS:
            reader, writer = self.idle.popleft()
        else:
            self.opened += 1
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        held.append(writer)
        writer.write(REQUEST)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        if b"\r\nconnection: close" not in head:
            self.idle.append((reader, writer))
            held.clear()
        return head.split()[1]


def steady(port, rate, seconds, patience):
    """What clients saw; a request that was given up counts with the time it was waited for."""
    load = Steady(port, rate, seconds, patience)
    asyncio.run(load.run())
    order = sorted(load.latencies)
    return {
        "requests": len(order),
        "errors": dict(load.errors),
        "p50_ms": order[len(order) // 2] * 1e3,
        "p99_ms": order[min(len(order) - 1, len(order) * 99 // 100)] * 1e3,
        "max_ms": order[-1] * 1e3,
        "late_ms": load.late * 1e3,
    }


# --- Idle connections -------------------------------------------------------------------------


@contextlib.contextmanager
def idle_connections(port, count):
    """Connections that have had one answer each and rest."""
    with contextlib.ExitStack() as held:
        connections = []
        for _ in range(count):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS))
            exchange(connection)
            connections.append(connection)
        yield connections


def exchange(connection):
    """One request and the whole answer, which must be a 200."""
    connection.sendall(REQUEST)
    came = b""
    while b"\r\n\r\n" not in came:
        came += receive(connection)
    head, _, body = came.partition(b"\r\n\r\n")
    if head.split()[1] != b"200":
        raise OSError(f"answered {head.splitlines()[0].decode(errors='replace')}")
    length = int(head.lower().split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += receive(connection)


def receive(connection, most=1 << 16):
    piece = connection.recv(most)
    if not piece:
        raise OSError("closed in the middle of an answer")
    return piece


def alive(connections):
    """How many still answer."""
    count = 0
    for connection in connections:
        try:
            exchange(connection)
            count += 1
        except (OSError, IndexError, ValueError):
            pass
    return count


# --- Slow readers -----------------------------------------------------------------------------


@contextlib.contextmanager
def slow_readers(port, path, size, count):
    """Connections that have each asked for a body of that size. What is given is called again and
    again: each reader then takes a little, and it returns how many are still well."""
    with contextlib.ExitStack() as held:
        connections = []
        for _ in range(count):
            connection = held.enter_context(socket.socket())
            # Little is on its way to who reads little.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(("127.0.0.1", port))
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: bench.test\r\n\r\n".encode())
            connections.append(connection)
        for connection in connections:
            head = receive(connection, READ_BYTES).lower()
            if head.split()[1] != b"200" or b"\r\ncontent-length: %d\r\n" % size not in head:
                raise OSError(f"answered {head[:200].decode(errors='replace')}")
            connection.setblocking(False)

        def turn():
            time.sleep(READ_PAUSE)
            return sum(takes(connection) for connection in connections)

        yield turn


def takes(connection):
    """Whether the connection lives; that there is nothing to read at the moment is no fault."""
    try:
        return bool(connection.recv(READ_BYTES))
    except BlockingIOError:
        return True
    except OSError:
        return False
