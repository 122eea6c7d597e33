"""An address for each container: in a network namespace of its own under root, else one of loopback's.

Under root a bridge of its own joins the namespaces, and this machine has an address on it; there is no way out. Names
are in a hosts file that only the containers see. Without root a name is replaced by its address wherever it is used.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol


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

    def said(self, container: str, text: str) -> str:
        """A word of the container's command or environment, with names and addresses as they must be said there."""
        ...

    def close(self) -> None: ...


def open_network(folder: Path) -> Network:
    """Namespaces where this process may make them, else loopback."""
    if os.geteuid() == 0:
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
        return ["nsenter", space, "unshare", "--mount", "--uts", "sh", "-c", see_names, "sh", *command]

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

    def said(self, container: str, text: str) -> str:
        """A name counts where an address can stand: after //, @ or =, before a port or a path, alone or in a list.

        "Every address" and "this machine" become the container's own, as others have the port on theirs.
        """
        names = self._names | dict.fromkeys(("0.0.0.0", "127.0.0.1"), self._addresses[container])
        either = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
        return re.sub(rf"(?:(?<=//)|(?<=[@=,\"])|^)(?:{either})(?=[:/,\"]|$)", lambda found: names[found[0]], text)

    def close(self) -> None:
        pass


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
