"""Who is logged in: sessions behind the interface that Redis can take over."""

from __future__ import annotations

from typing import Protocol

from perfload.target.tokens import TokenIssuer


class TooManyRequests(Exception):
    """A session has used up its requests of this second."""


class Sessions(Protocol):
    """Where sessions are kept. Times are seconds since the epoch."""

    @property
    def lifetime_s(self) -> int:
        """Whole seconds for which a token is valid."""

    async def open(self, email: str, now_s: float) -> str:
        """Return a token that stands for `email`."""

    async def subject(self, token: str, now_s: float) -> str:
        """Return the address that `token` stands for.

        Raises `InvalidToken`, or `TooManyRequests` where requests are limited.
        """


class SignedSessions:
    """`Sessions` without a store: signed tokens that carry who they stand for. Nothing is limited."""

    def __init__(self, issuer: TokenIssuer) -> None:
        self._issuer = issuer

    @property
    def lifetime_s(self) -> int:
        """See `Sessions.lifetime_s`."""
        return self._issuer.lifetime_s

    async def open(self, email: str, now_s: float) -> str:
        """See `Sessions.open`."""
        return self._issuer.issue(email, now_s)

    async def subject(self, token: str, now_s: float) -> str:
        """See `Sessions.subject`."""
        return self._issuer.subject(token, now_s)
