"""Which addresses may be connected to: what a sender writes must not lead into our own network.

Checked when a connection is made, which then goes to the address that was checked: a name that
changes what it means in between (DNS rebinding) changes nothing. (`httpx-secure` connects first and
looks at the address then, which tells the sender what listens where.)
"""

from __future__ import annotations

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_ISATAP: Final = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")
_NOBODYS: Final = tuple(
    ipaddress.ip_network(one)
    # Azure's own services; 6to4 relays; site-local (RFC 3879); documentation (RFC 9637).
    for one in ("168.63.129.16/32", "192.88.99.0/24", "fec0::/10", "3fff::/20")
)
"""What the standard library takes for public, and is not."""


class HostRules:
    """What is allowed: names of hosts, and networks.

    Args:
        allow: names (`hooks.example.com`), names below one (`*.example.com`), addresses and
            networks (`10.1.0.0/16`). Addresses that everybody can reach need a name only; private,
            loopback and link-local ones are reached only in networks that are listed.

    Raises:
        ValueError: an entry is none of these.
    """

    def __init__(self, allow: tuple[str, ...]) -> None:
        self._names: set[str] = set()
        self._below: set[str] = set()
        self._networks: list[Network] = []
        for entry in allow:
            self._add(entry)

    def _add(self, entry: str) -> None:
        try:
            self._networks.append(ipaddress.ip_network(entry))
        except ValueError:
            name = entry.lower().rstrip(".")
            bare = name.removeprefix("*.")
            if not _is_name(bare):
                msg = f"{entry!r} is no name of a host, no address and no network"
                raise ValueError(msg) from None
            (self._below if name != bare else self._names).add(bare)

    def allows_name(self, host: str) -> bool:
        """Whether a URL with this host may be called at all."""
        name = host.lower().rstrip(".")
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names or any(name.endswith(f".{one}") for one in self._below)
        return self._is_listed(address)

    def allows_address(self, address: Address) -> bool:
        """Whether a connection to this address may be made."""
        return is_public(address) or self._is_listed(address)

    def _is_listed(self, address: Address) -> bool:
        inner = _inner(address)
        return any(
            one in network
            for network in self._networks
            for one in (address, inner)
            if one is not None and one.version == network.version
        )


def is_public(address: Address) -> bool:
    """Whether it is one that everybody can reach, also as the one that it stands for."""
    inner = _inner(address)
    if inner is not None:
        return is_public(inner)
    if any(address.version == one.version and address in one for one in _NOBODYS):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def canonical(host: str) -> str:
    """One way to write a host, for counting: of an address the one that it leads to."""
    name = host.lower().partition("%")[0].rstrip(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    return str(_inner(address) or address)


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to (RFC 4291, 3056, 4380, 5214, 6052, 8215)."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    known = address.ipv4_mapped or address.sixtofour
    if known is not None or address.teredo is not None:
        return known or (address.teredo or (None, None))[1]
    is_embedded = address.packed[8:12] in _ISATAP or any(
        address in network for network in (_NAT64, _NAT64_LOCAL, _COMPATIBLE)
    )
    return ipaddress.IPv4Address(address.packed[-4:]) if is_embedded else None


def _is_name(name: str) -> bool:
    labels = name.split(".")
    return (
        0 < len(name) <= 253  # noqa: PLR2004  # RFC 1035
        and all(label and label.replace("-", "").replace("_", "").isalnum() for label in labels)
        and name.isascii()
        and not labels[-1].isdigit()
    )
