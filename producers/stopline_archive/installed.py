"""Whether the archive's packages are here: its callers are installed without them, too."""

from __future__ import annotations

from importlib.util import find_spec

from stopline.errors import InvalidSettingsError


def is_installed() -> bool:
    """Whether the extra `outcomes` is installed."""
    return all(find_spec(name) is not None for name in ("sqlalchemy", "alembic"))


def require_installed() -> None:
    """Say what to install; raises `InvalidSettingsError`."""
    if not is_installed():
        raise InvalidSettingsError(
            "The packages of archive and callbacks are not installed: install the extra 'outcomes' "
            "(in a checkout: pip install '.[outcomes]')"
        )
