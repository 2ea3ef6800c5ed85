"""Certificates for tests: an authority of their own, a server's and a client's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import trustme

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """The files of an authority and of one certificate that it signed."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def make(cls, directory: Path) -> Self:
        """Make an authority, and a certificate for this machine."""
        directory.mkdir(parents=True, exist_ok=True)
        made = cls(directory / "ca.pem", directory / "cert.pem", directory / "key.pem")
        authority = trustme.CA()
        leaf = authority.issue_cert("127.0.0.1", "localhost")
        authority.cert_pem.write_to_path(made.ca)
        leaf.private_key_pem.write_to_path(made.key)
        for index, part in enumerate(leaf.cert_chain_pems):
            part.write_to_path(made.cert, append=index > 0)
        return made
