"""gRPC by Google's library, without generated code: bytes in, bytes out.

    rpc.py serve            prints its port, and serves until it is killed
    rpc.py call TARGET      unary, streams, errors and a deadline, each checked
    rpc.py dead TARGET      the status of a call to a server that is gone
"""

import sys
import time
from concurrent import futures

import grpc

SERVICE = "risefall.Test"
MANY = 1000


class Handlers(grpc.GenericRpcHandler):
    def service(self, details):
        match details.method.rpartition("/")[2]:
            case "Echo":
                return grpc.unary_unary_rpc_method_handler(self.echo)
            case "Fail":
                return grpc.unary_unary_rpc_method_handler(self.fail)
            case "Slow":
                return grpc.unary_unary_rpc_method_handler(self.slow)
            case "Count":
                return grpc.unary_stream_rpc_method_handler(self.count)
            case "Sum":
                return grpc.stream_unary_rpc_method_handler(self.sum)
            case "Talk":
                return grpc.stream_stream_rpc_method_handler(self.talk)

    def echo(self, request, context):
        sent = dict(context.invocation_metadata())
        context.send_initial_metadata((("x-seen", sent.get("x-mine", "")),))
        context.set_trailing_metadata((("x-end-bin", b"\0\1\2"),))
        return request

    def fail(self, _, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not so: 100 % ü")

    def slow(self, request, _):
        time.sleep(5)
        return request

    def count(self, request, _):
        for number in range(int(request)):
            yield b"%d" % number

    def sum(self, requests, _):
        return b"%d" % sum(map(int, requests))

    def talk(self, requests, _):
        yield from requests


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 8 << 20)])
    server.add_generic_rpc_handlers([Handlers()])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


def expect(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: found {found!r:.200}, expected {expected!r:.200}")


def status_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def call(target):
    with grpc.insecure_channel(target, [("grpc.max_receive_message_length", 8 << 20)]) as channel:
        name = f"/{SERVICE}/"
        echo = channel.unary_unary(name + "Echo")
        answer, told = echo.with_call(b"hello", metadata=(("x-mine", "yes"),), timeout=10)
        expect("unary", answer, b"hello")
        expect("first metadata", dict(told.initial_metadata()).get("x-seen"), "yes")
        expect("last metadata", dict(told.trailing_metadata()).get("x-end-bin"), b"\0\1\2")
        large = bytes(range(256)) * (4 << 12)
        expect("4 MiB", echo(large, timeout=20) == large, True)
        pieces = list(channel.unary_stream(name + "Count")(b"%d" % MANY, timeout=20))
        expect("server stream", pieces, [b"%d" % number for number in range(MANY)])
        numbers = (b"%d" % number for number in range(MANY))
        expect("client stream", channel.stream_unary(name + "Sum")(numbers, timeout=20), b"499500")
        talk(channel.stream_stream(name + "Talk"))
        failed = status_of(lambda: channel.unary_unary(name + "Fail")(b"", timeout=10))
        expect("status", failed, (grpc.StatusCode.FAILED_PRECONDITION, "not so: 100 % ü"))
        missing = status_of(lambda: channel.unary_unary(name + "None")(b"", timeout=10))
        expect("no such method", missing[0], grpc.StatusCode.UNIMPLEMENTED)
        began = time.monotonic()
        late = status_of(lambda: channel.unary_unary(name + "Slow")(b"", timeout=0.5))
        expect("deadline", late[0], grpc.StatusCode.DEADLINE_EXCEEDED)
        expect("deadline in time", time.monotonic() - began < 1.5, True)
        expect("after the deadline", echo(b"again", timeout=10), b"again")
    print("all well")


def talk(method):
    """Each message is answered before the next is sent: a proxy that gathers would hang here."""
    heard = []

    def words():
        for number in range(100):
            while len(heard) < number:
                time.sleep(0.001)
            yield b"%d" % number

    for answer in method(words(), timeout=20):
        heard.append(answer)
    expect("both ways", heard, [b"%d" % number for number in range(100)])


def dead(target):
    with grpc.insecure_channel(target, [("grpc.enable_retries", 0)]) as channel:
        code, details = status_of(lambda: channel.unary_unary(f"/{SERVICE}/Echo")(b"", timeout=10))
        print(code.name, details)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case ["call", target]:
            call(target)
        case ["dead", target]:
            dead(target)
        case _:
            sys.exit(__doc__)
