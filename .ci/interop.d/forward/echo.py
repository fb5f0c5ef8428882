"""WebSocket echo, through a proxy or not.

    echo.py serve                   prints its port, and echoes until it is killed
    echo.py send PORT PROXY COUNT   sends COUNT messages of growing size, checks each echo
"""

import asyncio
import sys

import websockets

MOST = 1 << 20


async def serve():
    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    async with websockets.serve(echo, "127.0.0.1", 0, max_size=MOST) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


async def send(port, proxy, count):
    async with websockets.connect(f"ws://127.0.0.1:{port}/", proxy=proxy, max_size=MOST) as socket:
        for number in range(count):
            message = f"{number} ".encode() * (number % 500 + 1)
            await socket.send(message)
            if await socket.recv() != message:
                sys.exit(f"message {number} came back changed")
    print(f"{count} echoes")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            asyncio.run(serve())
        case ["send", port, proxy, count]:
            asyncio.run(send(port, proxy, int(count)))
        case _:
            sys.exit(__doc__)
