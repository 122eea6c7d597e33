"""Free ports on loopback."""

import socket
from collections.abc import Iterable

LOOPBACK = "127.0.0.1"


def free_ports(preferred: Iterable[int]) -> list[int]:
    """One free port for each preferred one: itself where it is free, else any; 0 asks for any. All different."""
    taken: list[socket.socket] = []
    try:
        taken.extend(map(_bound, preferred))
        return [held.getsockname()[1] for held in taken]
    finally:
        for held in taken:  # held until all are chosen, so that none is chosen twice
            held.close()


def _bound(port: int) -> socket.socket:
    for candidate in (port, 0):
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind(("", candidate))  # free on every address: Ray listens on all
        except OSError:
            held.close()
        else:
            return held
    raise OSError("no port is free on loopback")


def accepts(port: int, *, timeout_s: float = 1.0) -> bool:
    """Whether something on loopback takes connections at the port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout_s):
            return True
    except OSError:
        return False
