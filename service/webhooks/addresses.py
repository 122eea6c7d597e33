"""Which addresses a webhook may reach: who registers one must not use the service to look behind its firewall."""

import ipaddress
import socket
from asyncio import get_running_loop

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Networks in which an IPv4 address travels inside one of IPv6, and might be a private one.
_WRAPPING = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))


def is_public(address: Address) -> bool:
    """Whether the address is one of the public internet.

    >>> [is_public(ipaddress.ip_address(text)) for text in ("1.1.1.1", "10.0.0.1", "::ffff:127.0.0.1")]
    [True, False, False]
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if any(address in network for network in _WRAPPING):
            return False
    return address.is_global and not address.is_multicast


def literal(host: str) -> Address | None:
    """The address that the host of a URL is, if it is one and no name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


async def resolve(host: str, port: int) -> list[Address]:
    """All addresses that a name stands for now.

    Raises:
        OSError: it stands for none.
    """
    found = await get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(where[0]).partition("%")[0]) for *_, where in found]
