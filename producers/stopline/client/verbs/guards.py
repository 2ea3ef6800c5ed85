"""Guards and what they hold: applied, reset; let go, dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from stopline.client.verbs.dispatching import dispatch_promoted
from stopline.client.verbs.steps import Verb, run
from stopline.contract import (
    MESSAGE_IDS_MAX,
    AuditAction,
    HeldPlace,
    HoldResult,
    OpenRequest,
    State,
    check_guards,
    check_name,
    check_source_pattern,
)
from stopline.errors import InvalidRequestError
from stopline.ledger import commands
from stopline.ledger import guards as ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline.contract import Actor, Guard, Guards
    from stopline.ledger.limits import Limits

_TRIES: Final = 5


class HeldPage(NamedTuple):
    """Some held requests of a guard, the oldest first, and where to go on, if there are more."""

    requests: tuple[OpenRequest, ...]
    place: HeldPlace | None


def guards(limits: Limits) -> Verb[Guards]:
    """All guards, and how they are."""
    found = yield from run(ledger.guards(limits))
    return found


def apply_guards(
    limits: Limits, rules: Sequence[Guard], seen: str | None, actor: Actor | None
) -> Verb[bool]:
    """Put guards in the place of those that were seen (None: whichever they are)."""
    try:
        checked = check_guards(tuple(rules))
    except ValueError as error:
        raise InvalidRequestError(f"guards: {error}", field="guards") from None
    audit = actor and commands.audit_text(AuditAction.GUARDS, actor, count=len(checked))
    for _ in range(_TRIES):
        version = seen if seen is not None else (yield from guards(limits)).version
        done = yield from run(ledger.apply_guards(limits, checked, version, audit))
        if done or seen is not None:
            return done
    return False


def reset_guard(limits: Limits, source: str, actor: Actor | None) -> Verb[bool | None]:
    """Let a guard begin anew; whether it had tripped, None where there is no such guard."""
    check_source_pattern(source)
    audit = actor and commands.audit_text(AuditAction.GUARD_RESET, actor, source=source)
    found = yield from run(ledger.reset_guard(limits, source, audit))
    return found


def held_page(place: HeldPlace, limit: int) -> Verb[HeldPage]:
    """What a guard holds, from a place on."""
    check_source_pattern(place.source)
    found = yield from run(ledger.held_ids(place, limit))
    some = found[:limit]
    if not some:
        return HeldPage((), None)
    known = yield from run(ledger.open_requests([one for one, _ in some]))
    requests = tuple(one for one in known if one.state is State.HELD)
    last, score = some[-1]
    further = HeldPlace(place.source, score, last) if len(found) > limit else None
    return HeldPage(requests, further)


def release(
    limits: Limits, request_ids: Sequence[str], actor: Actor | None
) -> Verb[dict[str, HoldResult]]:
    """Let held requests go; what came of each, by its id."""
    results = yield from _act_on(limits, request_ids, AuditAction.RELEASE, actor, None)
    return results


def discard_held(
    limits: Limits, request_ids: Sequence[str], by: str, actor: Actor | None
) -> Verb[dict[str, HoldResult]]:
    """Drop held requests in the name of `by`: they end as `cancelled`."""
    check_name(by, "by")
    results = yield from _act_on(limits, request_ids, AuditAction.CANCEL, actor, by)
    return results


def _act_on(
    limits: Limits,
    request_ids: Sequence[str],
    action: AuditAction,
    actor: Actor | None,
    dropped_by: str | None,
) -> Verb[dict[str, HoldResult]]:
    results: dict[str, HoldResult] = {}
    for first in range(0, len(request_ids), MESSAGE_IDS_MAX):
        chunk = request_ids[first : first + MESSAGE_IDS_MAX]
        audit = actor and commands.audit_text(action, actor, request_ids=chunk)
        command = ledger.release(limits, chunk, audit, dropped_by=dropped_by)
        words, promoted = yield from run(command)
        results.update(zip(chunk, words, strict=True))
        yield from dispatch_promoted(promoted)
    return results
