"""Sessions and rate limits in Redis, below keys that no other target uses.

Every key expires, so a target that is killed leaves nothing for longer than its tokens would have lived.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

from perfload.errors import TargetUnreachable, UsageError
from perfload.target import require_extra
from perfload.target.repository import StoreUnavailable
from perfload.target.sessions import TooManyRequests
from perfload.target.tokens import InvalidToken

KEY_PREFIX = "perfload_target:"
_ANSWER_WITHIN_S = 5.0
_RATE_WINDOW_S = 1
_MAX_CONNECTIONS = 100


class RedisSessions:
    """`Sessions` whose tokens are random and mean nothing to anybody but this Redis.

    `rate_limit` is the number of requests a second of one session; 0 counts them and limits nobody.
    """

    def __init__(self, client: Any, *, prefix: str, lifetime_s: int, rate_limit: int) -> None:
        self._client = client
        self._prefix = prefix
        self._rate_limit = rate_limit
        self._lifetime_s = lifetime_s

    @property
    def lifetime_s(self) -> int:
        """See `Sessions.lifetime_s`."""
        return self._lifetime_s

    async def open(self, email: str, now_s: float) -> str:
        """See `Sessions.open`."""
        token = secrets.token_urlsafe(32)
        with _answers():
            await self._client.set(self._session_key(token), email, ex=self._lifetime_s)
        return token

    async def subject(self, token: str, now_s: float) -> str:
        """See `Sessions.subject`; one round trip."""
        key = self._session_key(token)
        rate_key = f"{key}:{int(now_s) // _RATE_WINDOW_S}"
        with _answers():
            async with self._client.pipeline(transaction=False) as pipeline:
                pipeline.get(key)
                pipeline.incr(rate_key)
                pipeline.expire(rate_key, 2 * _RATE_WINDOW_S)
                email, requests, _ = await pipeline.execute()
        if email is None:
            raise InvalidToken("invalid or expired token")
        if self._rate_limit and requests > self._rate_limit:
            raise TooManyRequests
        return str(email.decode())

    def _session_key(self, token: str) -> str:
        # A hash: whoever may list the keys has no tokens yet, and a token of any length makes a short key.
        return f"{self._prefix}{hashlib.sha256(token.encode()).hexdigest()[:32]}"

    async def forget_all(self) -> None:
        """Delete every key of this target."""
        with _answers():
            async for key in self._client.scan_iter(match=f"{self._prefix}*", count=1000):
                await self._client.delete(key)


@contextlib.asynccontextmanager
async def open_redis_sessions(url: str, *, lifetime_s: int, rate_limit: int) -> AsyncIterator[RedisSessions]:
    """Connect to the Redis at `url`; its keys are deleted when the block ends.

    Raises `UsageError` when the client is not installed or `url` is none, `TargetUnreachable` when nobody
    answers there.
    """
    require_extra(("redis",), extra="redis", what="--redis")
    from redis import asyncio as redis
    from redis.exceptions import RedisError

    try:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=_MAX_CONNECTIONS,
            timeout=_ANSWER_WITHIN_S,
            socket_timeout=_ANSWER_WITHIN_S,
            socket_connect_timeout=_ANSWER_WITHIN_S,
        )
    except ValueError:
        raise UsageError(
            "REDIS_URL is no address of a Redis", hint="write redis://localhost:6379/0, or rediss:// for TLS"
        ) from None
    client = redis.Redis(connection_pool=pool)
    try:
        try:
            await client.ping()
        except (RedisError, OSError) as error:
            raise TargetUnreachable(
                f"Redis does not answer as REDIS_URL has it: {type(error).__name__}",
                hint="start it, correct REDIS_URL, or leave --redis out",
            ) from error
        prefix = f"{KEY_PREFIX}{secrets.token_hex(4)}:"
        sessions = RedisSessions(client, prefix=prefix, lifetime_s=lifetime_s, rate_limit=rate_limit)
        try:
            yield sessions
        finally:
            with contextlib.suppress(StoreUnavailable):
                await sessions.forget_all()
    finally:
        await client.aclose()
        await pool.aclose()


@contextlib.contextmanager
def _answers() -> Any:
    from redis.exceptions import RedisError

    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreUnavailable(f"Redis: {type(error).__name__}") from error
