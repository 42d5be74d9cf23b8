"""Who may log in: the accounts of a CSV file, and who of them is an administrator."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from perfload.dataset import read_rows
from perfload.errors import UsageError

Role = Literal["admin", "user"]

DEFAULT_PATH = Path("data/test_data.csv")

_BUILT_IN_EMAILS = (
    "admin@test.com",
    "secretary@test.com",
    "admin2@test.com",
    "secretary2@test.com",
    "admin3@test.com",
    "secretary3@test.com",
)
_BUILT_IN_PASSWORD = "testpass123"  # noqa: S105 - of a server that holds nothing


@dataclass(frozen=True, slots=True)
class Account:
    """One account that may log in."""

    email: str
    password: str
    role: Role


BUILT_IN_ROWS: tuple[Mapping[str, str], ...] = tuple(
    {"email": email, "password": _BUILT_IN_PASSWORD} for email in _BUILT_IN_EMAILS
)
"""The rows of `data/test_data.csv`, for an installed package, which comes without that folder."""


class Directory(Protocol):
    """Where accounts are looked up."""

    async def log_in(self, email: str, password: str) -> Account | None:
        """Return the account with this address and password, or None."""

    async def find(self, email: str) -> Account | None:
        """Return the account with this address, or None."""


class Accounts:
    """The accounts by e-mail address, which is compared without regard to case; `source` is for errors."""

    def __init__(self, rows: Iterable[Mapping[str, str]], source: str = "accounts") -> None:
        self._by_email: dict[str, Account] = {}
        self._source = source
        for row in rows:
            self._add(row["email"].strip(), row["password"], row.get("role", ""))

    @classmethod
    def read(cls, path: Path | None) -> Accounts:
        """Return the accounts in the CSV file `path`: columns `email`, `password` and, if wanted, `role`.

        `None` means `data/test_data.csv` below the working directory or, without one, the same six built-in
        accounts. Raises `UsageError` when the file cannot be used.
        """
        if path is None and not DEFAULT_PATH.exists():
            return cls(BUILT_IN_ROWS)
        source = DEFAULT_PATH if path is None else path
        return cls(read_rows(source, ("email", "password")), source=str(source))

    def _add(self, email: str, password: str, role: str) -> None:
        key = email.casefold()
        if not key or not password:
            lacking = "password" if key else "email"
            raise UsageError(f"{self._source}: an account has no {lacking}", hint="fill in both in each row")
        if key in self._by_email:
            raise UsageError(
                f"{self._source}: account {email} is there twice", hint="leave one of the two rows out"
            )
        self._by_email[key] = Account(email, password, self._role_of(email, role))

    def _role_of(self, email: str, role: str) -> Role:
        match role.strip().casefold():
            case "admin":
                return "admin"
            case "user":
                return "user"
            case "":
                return "admin" if email.casefold().startswith("admin") else "user"
        raise UsageError(
            f"{self._source}: account {email} has the unknown role {role!r}",
            hint="write admin or user; left blank, it is admin for addresses that start with admin",
        )

    async def log_in(self, email: str, password: str) -> Account | None:
        """See `Directory.log_in`."""
        account = await self.find(email)
        if account is None or not hmac.compare_digest(account.password.encode(), password.encode()):
            return None
        return account

    async def find(self, email: str) -> Account | None:
        """See `Directory.find`."""
        return self._by_email.get(email.casefold())

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_email.values())

    def __len__(self) -> int:
        return len(self._by_email)
