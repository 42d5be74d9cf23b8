"""The other end of `report`: a process that takes messages and acknowledges each, as a master does."""

from __future__ import annotations

import sys

import zmq


def main() -> None:
    """Print the port, then answer whatever comes until the process is ended."""
    socket = zmq.Context().socket(zmq.ROUTER)
    print(socket.bind_to_random_port("tcp://127.0.0.1"), flush=True)
    acknowledgement = bytes.fromhex(sys.argv[1])
    while True:
        sender, _ = socket.recv_multipart()
        socket.send_multipart((sender, acknowledgement))


if __name__ == "__main__":
    main()
