"""Hand on TCP connections to another port of this machine; when this process is killed, connections are refused.

python tests/helpers/tcp_gate.py PORT TARGET
"""

import socket
import sys
import threading
from contextlib import suppress


def main() -> None:
    """Listen on one port, and connect each client with the other."""
    port, target = map(int, sys.argv[1:])
    with socket.create_server(("127.0.0.1", port), backlog=100) as listener:
        while True:
            client, _ = listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", target), 10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=hand_on, args=(source, sink), daemon=True).start()


def hand_on(source: socket.socket, sink: socket.socket) -> None:
    """Send what comes, until the sender has ended."""
    with suppress(OSError):
        while content := source.recv(65536):
            sink.sendall(content)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main()
