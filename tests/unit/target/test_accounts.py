from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from perfload.dataset import read_rows
from perfload.errors import UsageError
from perfload.target.accounts import BUILT_IN_ROWS, DEFAULT_PATH, Account, Accounts

REPOSITORY = Path(__file__).parents[3]


def test_the_built_in_accounts_are_those_of_the_shipped_file() -> None:
    assert read_rows(REPOSITORY / DEFAULT_PATH, ("email", "password")) == list(BUILT_IN_ROWS)
    assert [row["email"] for row in BUILT_IN_ROWS if row["email"].startswith("admin")] == [
        "admin@test.com",
        "admin2@test.com",
        "admin3@test.com",
    ]


def log_in(accounts: Accounts, email: str, password: str) -> Account | None:
    return asyncio.run(accounts.log_in(email, password))


def test_without_the_default_file_the_built_in_accounts_may_log_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    accounts = Accounts.read(None)
    assert len(accounts) == 6
    assert log_in(accounts, "admin@test.com", "testpass123") == Account(
        "admin@test.com", "testpass123", "admin"
    )
    assert log_in(accounts, "Secretary2@TEST.com", "testpass123") == Account(
        "secretary2@test.com", "testpass123", "user"
    )


def test_only_the_right_password_logs_in() -> None:
    accounts = Accounts(BUILT_IN_ROWS)
    assert log_in(accounts, "admin@test.com", "testpass12") is None
    assert log_in(accounts, "nobody@test.com", "testpass123") is None
    assert log_in(accounts, "admin@test.com", "tèstpass123") is None


def test_a_role_column_goes_before_the_address(tmp_path: Path) -> None:
    file = tmp_path / "accounts.csv"
    file.write_text("email,password,role\nadmin@x.org,a,user\nboss@x.org,b,Admin\nadministrator@x.org,c,\n")
    accounts = Accounts.read(file)
    roles = {
        email: account.role
        for email in ("admin@x.org", "boss@x.org", "administrator@x.org")
        if (account := asyncio.run(accounts.find(email))) is not None
    }
    assert roles == {"admin@x.org": "user", "boss@x.org": "admin", "administrator@x.org": "admin"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a@x.org", "1", "root")], "f.csv: account a@x.org has the unknown role 'root'"),
        ([("a@x.org", "1", ""), ("A@x.org", "2", "")], "f.csv: account A@x.org is there twice"),
        ([(" ", "1", "")], "f.csv: an account has no email"),
        ([("a@x.org", "", "")], "f.csv: an account has no password"),
    ],
)
def test_accounts_that_cannot_be_used(rows: list[tuple[str, str, str]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Accounts([dict(zip(("email", "password", "role"), row, strict=True)) for row in rows], source="f.csv")
