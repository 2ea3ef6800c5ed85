"""What a user's own code looks like: `make check` has mypy read it, strictly. It is never run."""

from __future__ import annotations

from pathlib import Path

from stopline import (
    AsyncStopClient,
    Lane,
    Outcome,
    Receipt,
    Settings,
    SettingsFields,
    StopClient,
    StopFields,
    Submitted,
)


def in_code() -> Settings:
    """Settings in code: plain values, checked by name and type."""
    return Settings.load(
        redis_url="redis://localhost:6379/0",
        api_token_file=Path("token"),
        deadline_s=600,
        max_attempts=3,
        durability="fsync",
    )


def misspelt() -> Settings:
    """A name that is none, and a value of another type."""
    Settings.load(deadline_s="soon")  # type: ignore[arg-type]
    return Settings.load(redis_ulr="redis://localhost")  # type: ignore[call-arg]


def shared(extra: SettingsFields) -> StopClient:
    """Settings that are put together."""
    fields: SettingsFields = {"max_in_flight": 50, **extra}
    return StopClient(Settings.load(**fields))


def stop(client: StopClient) -> Outcome:
    """One stop, and its outcome."""
    fields: StopFields = {"source": "crm", "lane": Lane.EMERGENCY}
    receipt: Receipt = client.stop("u", "t", **fields)
    client.stop("u", "t", colour="red")  # type: ignore[call-arg]
    return client.wait(receipt.request_id, timeout_s=30)


async def stop_many(client: AsyncStopClient) -> Submitted:
    """Many at once."""
    return await client.stop_many([{"user_id": "u", "task_id": "1"}])
