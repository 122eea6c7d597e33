"""An address for each container: in a network namespace of its own under root, else one of loopback's.

Under root a bridge of its own joins the namespaces, and this machine has an address on it; there is no way out. Names
are in a hosts file that only the containers see, and none sees the processes of others. Without root a name is replaced
by its address wherever it is used.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Protocol

import psutil

INIT: Final = Path(__file__).with_name("init.py")


class Network(Protocol):
    """How containers find each other."""

    interface: str
    """the name of the network's interface, as a container sees it"""

    def join(self, container: str, names: Sequence[str]) -> None:
        """Give the container an address, under which these names lead to it."""
        ...

    def address(self, container: str) -> str: ...

    def within(self, container: str, command: Sequence[str]) -> list[str]:
        """The command, as it must be called to run there."""
        ...

    def first_process(self, pid: int) -> int:
        """Which process gets the signals for the container whose command was called as `pid`."""
        ...

    def said(self, container: str, text: str) -> str:
        """A word of the container's command or environment, with names and addresses as they must be said there."""
        ...

    def close(self) -> None: ...


def open_network(folder: Path, *, on_loopback: bool = False) -> Network:
    """Namespaces where this process may make them, else or where it is asked for, loopback."""
    if os.geteuid() == 0 and not on_loopback:
        with suppress(OSError, subprocess.CalledProcessError):
            return Namespaces(folder)
    return Loopback()


class Namespaces:
    """Network namespaces on a bridge. What was made is gone after `close`."""

    interface = "eth0"

    def __init__(self, folder: Path) -> None:
        self._hosts = folder / "hosts"
        self._prefix = f"sr{os.getpid() % 100_000}"
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {"localhost": "127.0.0.1"}
        self._undo = ExitStack()
        subnet = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self._subnet = subnet
        self._bridge = f"{self._prefix}b"
        _ip("link", "add", self._bridge, "type", "bridge")
        self._undo.callback(_ip, "link", "delete", self._bridge)
        _ip("address", "add", f"{subnet}.1/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    def join(self, container: str, names: Sequence[str]) -> None:
        number = len(self._addresses) + 2
        space, ours, theirs = self._space(container), f"{self._prefix}h{number}", f"{self._prefix}c{number}"
        address = f"{self._subnet}.{number}"
        _ip("netns", "add", space)
        self._undo.callback(_ip, "netns", "delete", space)
        _ip("link", "add", ours, "type", "veth", "peer", "name", theirs)
        _ip("link", "set", theirs, "netns", space, "name", self.interface)
        _ip("link", "set", ours, "master", self._bridge, "up")
        _ip("-n", space, "address", "add", f"{address}/24", "dev", self.interface)
        _ip("-n", space, "link", "set", self.interface, "up")
        _ip("-n", space, "link", "set", "lo", "up")
        self._addresses[container] = address
        self._names |= dict.fromkeys((container, *names), address)
        self._hosts.write_text("".join(f"{address} {name}\n" for name, address in self._names.items()))

    def address(self, container: str) -> str:
        return self._addresses[container]

    def within(self, container: str, command: Sequence[str]) -> list[str]:
        see_names = f'mount --bind {self._hosts} /etc/hosts && hostname {container} && exec "$@"'
        space = f"--net=/run/netns/{self._space(container)}"
        own = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return ["nsenter", space, *own, "sh", "-c", see_names, "sh", sys.executable, "-I", str(INIT), *command]

    def first_process(self, pid: int) -> int:
        children = psutil.Process(pid).children()  # of unshare, which hands on no signals
        return children[0].pid if children else pid

    def said(self, container: str, text: str) -> str:
        del container
        return text

    def close(self) -> None:
        self._undo.close()

    def _space(self, container: str) -> str:
        return f"{self._prefix}-{container}"


class Loopback:
    """Addresses 127.x.y.z of this machine, which need no rights; all containers see the same ports."""

    interface = "lo"

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def join(self, container: str, names: Sequence[str]) -> None:
        address = f"127.{77 + os.getpid() % 100}.0.{len(self._addresses) + 2}"
        self._addresses[container] = address
        self._names |= dict.fromkeys((container, *names), address)

    def address(self, container: str) -> str:
        return self._addresses[container]

    def within(self, container: str, command: Sequence[str]) -> list[str]:
        del container
        return list(command)

    def first_process(self, pid: int) -> int:
        return pid

    def said(self, container: str, text: str) -> str:
        """A name counts where an address can stand: after //, @, = or in a list, or before a port; alone it may be a
        program's.

        "Every address" and "this machine" become the container's own, as others have the port on theirs.
        """
        own = dict.fromkeys(("0.0.0.0", "127.0.0.1"), self._addresses[container])
        known, alone = _any_of(self._names | own), _any_of(own)
        inside = rf"(?:(?<=//)|(?<=[@=,\"])){known}(?=[:/,\"]|$)"
        return re.sub(rf"{inside}|^{known}(?=:\d)|^{alone}$", lambda found: (self._names | own)[found[0]], text)

    def close(self) -> None:
        pass


def _any_of(names: Iterable[str]) -> str:
    return f"(?:{'|'.join(sorted(map(re.escape, names), key=len, reverse=True))})"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
