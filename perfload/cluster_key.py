"""The one secret of a cluster, which master and workers share, and what is derived from it."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass

from perfload.errors import UsageError

VARIABLE = "PERFLOAD_CLUSTER_KEY"
"""In the environment or in .env.performance; no option, as Locust sends those to every worker."""

_PREFIX = "plk1_"
_SECRET_BYTES = 32
_CHECK_BYTES = 4
_TEXT = re.compile(rf"{_PREFIX}[A-Za-z0-9_-]{{{(_SECRET_BYTES + _CHECK_BYTES) * 4 // 3}}}")


@dataclass(frozen=True, slots=True, repr=False)
class ClusterKey:
    """A cluster's key. Its repr hides the secret."""

    secret: bytes

    @classmethod
    def generate(cls) -> ClusterKey:
        """Return a new key of 256 random bits."""
        return cls(secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str, source: str = VARIABLE) -> ClusterKey:
        """Return the key that `text` is; raises `UsageError` that names `source` and shows nothing of it."""
        text = text.strip()
        held = base64.urlsafe_b64decode(text.removeprefix(_PREFIX)) if _TEXT.fullmatch(text) else b""
        secret, check = held[:_SECRET_BYTES], held[_SECRET_BYTES:]
        if not held or check != _check(secret):
            wrong = "has a typo, or a part is missing" if text.startswith(_PREFIX) else "is no cluster key"
            raise UsageError(
                f"{source} {wrong}",
                hint="copy it whole, or make a new one with perfload cluster keygen, for master and workers",
            )
        return cls(secret)

    @property
    def text(self) -> str:
        """The key as it is written into the environment: with a check, so that typos are noticed."""
        return _PREFIX + base64.urlsafe_b64encode(self.secret + _check(self.secret)).decode()

    def derive(self, purpose: str) -> bytes:
        """Return 32 bytes for one purpose; without the key, they say nothing about those for another."""
        return _keyed_hash(self.secret, purpose, 32)

    def __repr__(self) -> str:
        return "ClusterKey(***)"


def _check(secret: bytes) -> bytes:
    return _keyed_hash(secret, "check", _CHECK_BYTES)


def _keyed_hash(secret: bytes, purpose: str, size: int) -> bytes:
    return hashlib.blake2b(purpose.encode(), key=secret, digest_size=size).digest()
