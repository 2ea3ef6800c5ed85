"""Secrets from files, as container platforms hand them out; and whom a file belongs to."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from stopline.errors import InvalidSettingsError

if TYPE_CHECKING:
    from pathlib import Path

_SECRET_BYTES_MAX: Final = 64 * 1024


def read_secret(path: Path, name: str) -> str:
    """The content of a secret's file, without blanks and line breaks around it.

    Raises:
        InvalidSettingsError: the file cannot be read, is no regular file, or is empty.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:  # Path has no opener
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidSettingsError(f"{name}: {path} is no regular file")
            secret = file.read(_SECRET_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InvalidSettingsError(f"{name}: cannot read {path}: {reason}") from None
    if not secret:
        raise InvalidSettingsError(f"{name}: {path} is empty")
    return secret


def read_own(path: Path) -> bytes | None:
    """What this user, or root, left in a small file; None where there is no such file of theirs.

    Neither follows a link nor waits: a FIFO has no end, and a link leads where its maker wants.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or is_somebody_elses(found):
            return None
        return file.read(_SECRET_BYTES_MAX)


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a FIFO would wait for its writer."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def is_somebody_elses(found: os.stat_result) -> bool:
    """Whether a file or directory belongs to neither this user nor root."""
    return found.st_uid not in {os.geteuid(), 0}


def others_may_write(found: os.stat_result) -> bool:
    """Whether somebody but its owner, who is this user or root, may write a file.

    A group of one's own, of one's own name, as many systems give each user, is nobody else.
    """
    mode = stat.S_IMODE(found.st_mode)
    if is_somebody_elses(found) or mode & stat.S_IWOTH:
        return True
    return bool(mode & stat.S_IWGRP) and not _is_own_group(found.st_gid)


def _is_own_group(gid: int) -> bool:
    import grp  # noqa: PLC0415  # only here, and seldom
    import pwd  # noqa: PLC0415

    try:
        me, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:  # a container's user without a name
        return False
    # Members by their primary group are not listed, so another group may be everybody's.
    is_private = me.pw_gid == gid and group.gr_name == me.pw_name
    return is_private and set(group.gr_mem) <= {me.pw_name}
