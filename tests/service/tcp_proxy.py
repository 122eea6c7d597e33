import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit

from sqlalchemy.engine import make_url


class TcpProxy:
    """A port of loopback that leads to a PostgreSQL server's socket, until the way is cut."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._listener: socket.socket | None = None
        self._ways: list[socket.socket] = []
        self._lock = threading.Lock()
        self.port = 0
        self.restore()

    def cut(self) -> None:
        """From here on nobody gets through: connections break, new ones are refused."""
        with self._lock:
            listener, self._listener = self._listener, None
            ways, self._ways = self._ways, []
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes its thread, which closing would not
            listener.close()
        for way in ways:
            _close(way)

    def restore(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            callee = socket.socket(socket.AF_UNIX)
            callee.connect(self._target)
            with self._lock:
                if self._listener is not listener:
                    _close(caller)
                    _close(callee)
                    return
                self._ways += [caller, callee]
            for source, sink in ((caller, callee), (callee, caller)):
                threading.Thread(target=_carry, args=(source, sink), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65536):
            sink.sendall(block)
    _close(sink)


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def proxied(server_url: str, *, password: str = "secret") -> Iterator[tuple[TcpProxy, str]]:
    """A proxy before the server, and the URL through it. The server asks for no password, and is told one."""
    folder = parse_qs(urlsplit(server_url).query)["host"][0]
    proxy = TcpProxy(f"{folder}/.s.PGSQL.{parse_qs(urlsplit(server_url).query).get('port', ['5432'])[0]}")
    url = make_url(server_url).set(host="127.0.0.1", port=proxy.port, password=password, query={})
    try:
        yield proxy, url.render_as_string(hide_password=False)
    finally:
        proxy.cut()
