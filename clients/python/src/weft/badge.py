"""The token of a connection: where it comes from, which one the gateway has seen, and when to ask for another."""

from __future__ import annotations

import logging
import time

from .errors import WeftError
from .settings import Token, current

log = logging.getLogger("weft")

#: After so many refusals of a token in a row the subscriber gives up.
TOKENS_MAX = 3
#: Seconds between two questions for a newer token on one connection.
RENEW_PAUSE = 5.0


class Badge:
    """What a subscriber shows."""

    def __init__(self, token: Token) -> None:
        self._token = token
        self._refused = 0
        # The token that the gateway has seen last, and when one took its place.
        self._shown: str | None = None
        self._renewed_at = -RENEW_PAUSE

    async def begin(self) -> dict[str, str]:
        """Headers for a connection."""
        try:
            token = self._shown = await current(self._token)
        except WeftError:
            raise
        except Exception as met:
            # Who gives tokens may be away for a moment, as a gateway may.
            raise OSError(f"no token could be had: {met or type(met).__name__}") from met
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    def accepted(self) -> None:
        self._refused = 0

    def refused(self, message: str) -> None:
        """Raises where asking for another is no use."""
        self._refused += 1
        if not callable(self._token) or self._refused >= TOKENS_MAX:
            raise WeftError("unauthenticated", message)

    async def newer(self) -> str | None:
        """The token is about to expire: a newer one, if there is one and this was not asked just now."""
        if time.monotonic() - self._renewed_at < RENEW_PAUSE:
            return None
        self._renewed_at = time.monotonic()
        try:
            token = await current(self._token)
        except Exception as met:  # noqa: BLE001 - whatever whoever gives tokens may raise
            log.warning("no newer token could be had: %s", met or type(met).__name__)
            return None
        # What the gateway has seen is not shown again: it would warn again, at once.
        if token is None or token == self._shown:
            log.info("the token expires soon, and there is no newer one")
            return None
        return token

    def shown(self, token: str) -> None:
        """The gateway has been sent this one."""
        self._shown = token
