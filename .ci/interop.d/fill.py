"""Fills the queue of a listener that accepts nothing, until the kernel drops what else comes.

    fill.py PORT

Prints `full`, and holds the connections until it is killed.
"""

import socket
import sys
import time

MOST = 4096
HANDSHAKE = 0.3


def main():
    port = int(sys.argv[1])
    held = []
    while len(held) < MOST:
        connection = socket.socket()
        connection.settimeout(HANDSHAKE)
        held.append(connection)
        try:
            connection.connect(("127.0.0.1", port))
        except TimeoutError:
            break
    else:
        sys.exit(f"{MOST} connections do not fill the queue")
    connection.close()
    print("full", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
