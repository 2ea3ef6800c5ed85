"""What the routes work with: one of each in a process."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

from stopline.errors import StoplineError
from stopline.settings.model import Settings
from stopline_events.policy import Policy, PolicySettings
from stopline_events.rules.tally import FLUSH_S
from stopline_gateway.access import Access
from stopline_gateway.bodies import BodyLimits
from stopline_gateway.feed import Feed
from stopline_gateway.history import History
from stopline_gateway.keys_file import KeysFile
from stopline_gateway.rates import Rates
from stopline_gateway.readiness import Readiness
from stopline_gateway.sight import Sight
from stopline_gateway.waiting import Waiting

if TYPE_CHECKING:
    from starlette.requests import Request

    from stopline import AsyncStopClient
    from stopline_gateway.access import Caller
    from stopline_gateway.keys import Scope
    from stopline_gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes work with."""

    client: AsyncStopClient
    access: Access
    rates: Rates
    waiting: Waiting
    feed: Feed
    readiness: Readiness
    sight: Sight
    whole: BodyLimits
    """Of a body that is read whole."""
    streamed: BodyLimits
    """Of one that is read line by line."""
    keeps_outcomes: bool
    policy: Policy
    history: History

    @classmethod
    def of(
        cls,
        client: AsyncStopClient,
        settings: GatewaySettings,
        *,
        keeps_outcomes: bool,
        call_timeout_s: float,
        policy: PolicySettings | None = None,
        library: Settings | None = None,
    ) -> Self:
        """Those that settings describe.

        Raises:
            InvalidSettingsError: there are no keys and there should be, or their file is wrong.
        """
        keys = None if settings.keys_file is None else KeysFile(settings.keys_file)
        settings.check_access(None if keys is None else keys.keys)
        return cls(
            client=client,
            access=Access(keys, settings.default_rate),
            rates=Rates(client),
            waiting=Waiting(
                client, waiters_max=settings.waiters_max, streams_max=settings.streams_max
            ),
            feed=Feed(client),
            readiness=Readiness(client),
            sight=Sight(client, call_timeout_s),
            whole=BodyLimits(settings.body_bytes_max, settings.silence_s),
            streamed=BodyLimits(settings.batch_bytes_max, settings.silence_s),
            keeps_outcomes=keeps_outcomes,
            policy=Policy(client, policy or PolicySettings.load()),
            history=History(library or Settings.load()),
        )

    async def admit(self, request: Request, *scopes: Scope) -> Caller:
        """Who calls, if they may: raises `Problem` for a wrong key, scope or rate."""
        caller = self.access.caller(request, *scopes)
        await self.rates.take(caller)
        return caller

    async def keep_flushing(self) -> None:
        """Tell the ledger once a second what rules said here."""
        while True:
            await asyncio.sleep(FLUSH_S)
            with suppress(StoplineError):
                await self.policy.flush()

    async def close(self) -> None:
        """Close what is open."""
        with suppress(StoplineError):
            await self.policy.flush()
        self.history.close()
        await self.feed.close()
        await self.client.close()


def services_of(request: Request) -> Services:
    """Those of the process that a request came to."""
    return cast("Services", request.app.state.services)
