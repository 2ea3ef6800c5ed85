"""From settings to what the ledger needs: its address, and the limits that it works by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.contract import Rate, parse_breaker
from stopline.ledger.limits import GateLimits, Limits
from stopline.servers.embedded import url_of_running
from stopline.servers.redis_server import RedisServer
from stopline.settings.model import Durability

if TYPE_CHECKING:
    from stopline.settings.model import Settings


def limits_of(settings: Settings) -> Limits:
    """The ledger's limits as the settings have them."""
    return Limits(
        deadline_s=settings.deadline_s,
        lease_s=settings.lease_s,
        attempts_max=settings.max_attempts,
        upstream_failures_max=settings.max_upstream_failures,
        result_ttl_s=settings.result_ttl_s,
        dead_letter_ttl_s=settings.dead_letter_ttl_s,
        idempotency_ttl_s=settings.idempotency_ttl_s,
        outcomes_max=settings.outcomes_max if settings.outcomes else None,
        counts=settings.counts,
        recent_max=settings.recent_max or None,
        audit_max=settings.audit_max,
        durable=settings.durability is Durability.FSYNC,
        gate=_gate_of(settings),
        queues_here=not settings.has_broker_of_its_own,
    )


def _gate_of(settings: Settings) -> GateLimits:
    return GateLimits(
        credential_hold=settings.credential_hold,
        hold_max_s=settings.retry_after_max_s,
        probe_s=settings.probe_interval_s,
        breaker=parse_breaker(settings.breaker) if settings.breaker else None,
        rate=Rate.parse(settings.rate_limit) if settings.rate_limit else None,
        calls_a_grant=1 if settings.verify is None else 1 + settings.verify_pages,
        concurrent=settings.max_concurrent,
        adaptive=settings.adaptive_concurrency,
        retry_budget=settings.retry_budget,
        emergency_share=settings.emergency_share,
    )


def ledger_server_of(settings: Settings) -> RedisServer:
    """The ledger's server; raises `NoServerError`."""
    return RedisServer.of(ledger_url_of(settings), settings)


def ledger_url_of(settings: Settings) -> str:
    """The ledger's URL: the configured one, or that of the running embedded server.

    Raises:
        NoServerError: neither is there.
    """
    return settings.ledger_url() or url_of_running(settings.data_dir)
