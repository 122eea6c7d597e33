"""Published ports: ports of this machine's loopback that lead into containers."""

import shutil
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def published(address: str, port: int) -> Iterator[str]:
    """The address on this machine, localhost:port, behind which the container's port is."""

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), socket.create_connection((address, port), timeout=10) as inside:
                inside.settimeout(None)
                back = threading.Thread(target=_carry, args=(inside, self.request), daemon=True)
                back.start()
                _carry(self.request, inside)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forward) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        try:
            yield f"localhost:{server.server_address[1]}"
        finally:
            server.shutdown()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError), source.makefile("rb", buffering=0) as reader, sink.makefile("wb", buffering=0) as writer:
        shutil.copyfileobj(reader, writer)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
