"""Bearer tokens: signed JSON Web Tokens (HS256) that expire."""

from __future__ import annotations

import math

import jwt

_ALGORITHM = "HS256"


class InvalidToken(Exception):
    """A token that is malformed, expired, or not signed by this process; the message says which."""


class TokenIssuer:
    """Issues and reads tokens that are valid for `lifetime_s`. Times are seconds since the epoch."""

    def __init__(self, secret: bytes, lifetime_s: float) -> None:
        self._secret = secret
        self.lifetime_s = math.ceil(lifetime_s)
        """Whole seconds, as `expires_in` states them."""

    def issue(self, subject: str, now_s: float) -> str:
        """Return a token that names `subject` until `now_s` + `lifetime_s`, rounded up to a full second."""
        claims = {"sub": subject, "iat": int(now_s), "exp": math.ceil(now_s + self.lifetime_s)}
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def subject(self, token: str, now_s: float) -> str:
        """Return whom `token` names; raises `InvalidToken`."""
        # Expiry is checked here, not by the library, which would read the clock itself.
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                options={"require": ["sub", "exp"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise InvalidToken("invalid token") from error
        if claims["exp"] <= now_s:
            raise InvalidToken("token has expired")
        return str(claims["sub"])
