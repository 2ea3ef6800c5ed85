"""The command `audit`: who changed what."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from stopline.cli import output
from stopline.cli.options import AsJson
from stopline.client.sync_client import StopClient
from stopline.contract import parse_moment
from stopline.texts import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopline.contract import AuditEntry


def audit(
    actor: Annotated[str | None, typer.Option(help="Only changes by this source.")] = None,
    key: Annotated[str | None, typer.Option(help="Only with the key of this id.")] = None,
    task_id: Annotated[str | None, typer.Option(help="Only of this task.")] = None,
    since: Annotated[str | None, typer.Option(help="Only since then (RFC 3339).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many to show.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show who changed what through a service, the newest first."""
    moment = parse_moment(since, "--since") if since else None
    with StopClient() as client:
        found: Iterator[AuditEntry] = (
            entry
            for entry in client.audit_trail(since=moment)
            if actor in {None, entry.actor}
            and key in {None, entry.key}
            and (task_id is None or entry.is_about(task_id))
        )
        shown = 0
        for entry in islice(found, limit):
            shown += 1
            if as_json:
                output.print_json(entry.to_json())
            else:
                _print(entry)
        if not as_json and next(found, None) is not None:
            output.say(f"There are more than {limit}; use --limit.")
        elif not as_json and shown == 0:
            output.say("There is nothing in it.")


def _print(entry: AuditEntry) -> None:
    where = f"from {entry.address}" if entry.address else None
    key = f"key {entry.key}" if entry.key else None
    line = (f"{entry.at:%Y-%m-%d %H:%M:%S}Z", entry.action, entry.actor, key, where)
    output.print_block(line, _about(entry))


def _about(entry: AuditEntry) -> str | None:
    own = "/".join(filter(None, (entry.user_id, entry.task_id, entry.sub_user_id)))
    target = own or ", ".join(entry.targets)
    ids = ", ".join(entry.request_ids)
    follow = entry.follow if entry.follow not in entry.request_ids else None
    count = None if entry.count is None else f"{entry.count} in all"
    batch = f"batch {entry.batch_id}" if entry.batch_id else None
    guard = f"guard {entry.source}" if entry.source and not target else None
    lane = f"lane {entry.lane}" if entry.lane else None
    lasts = None if entry.lasts_s is None else f"for {duration_text(entry.lasts_s)}"
    what = (guard, lane, lasts, entry.reason)
    words = (target, batch, ids, count, *what, entry.receipt, follow and f"follow {follow}")
    return "; ".join(word for word in words if word) or None
