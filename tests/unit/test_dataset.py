from __future__ import annotations

from pathlib import Path

import pytest

from perfload.dataset import read_rows
from perfload.errors import UsageError

COLUMNS = ("email", "password")


def write(path: Path, content: bytes) -> Path:
    file = path / "accounts.csv"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_rows_with_and_without_byte_order_mark(tmp_path: Path, mark: bytes, line_end: bytes) -> None:
    lines = [b"email, password ,role", b"a@x.org,s1,admin", b"", '"ä,b@x.org"," s 2",'.encode(), b""]
    file = write(tmp_path, mark + line_end.join(lines))
    assert read_rows(file, COLUMNS) == [
        {"email": "a@x.org", "password": "s1", "role": "admin"},
        {"email": "ä,b@x.org", "password": " s 2", "role": ""},
    ]


def test_a_line_separator_inside_a_cell_ends_no_row(tmp_path: Path) -> None:
    file = write(tmp_path, 'email,password\na\u2028b,"x\ny"\n'.encode())
    assert read_rows(file, COLUMNS) == [{"email": "a\u2028b", "password": "x\ny"}]


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (b"", "is empty", "its first line names the columns: email,password"),
        (b"\xef\xbb\xbf\n\n", "is empty", "its first line names the columns: email,password"),
        (b"email,password\n\n", "has a header but no rows", "add at least one line below the header"),
        (
            b"Email,password\na,b\n",
            "has no column 'email'; it has 'Email', 'password'",
            "rename 'Email' to 'email'",
        ),
        (b"login,password\na,b\n", "has no column 'email'; it has 'login', 'password'", "add 'email'"),
        (
            b"email;password\na;b\n",
            "has no column 'email', 'password'; it has 'email;password'",
            "its cells are separated by semicolons: save it with commas",
        ),
        (b"email,password,email\na,b,c\n", ": column 'email' is there twice", "a name of its own"),
        (b"email,password\na,b\nc\n", ", line 3: 1 cell, the header has 2", "one cell for each of"),
        (b"email,password\na,b,c\n", ", line 2: 3 cells, the header has 2", "quote a cell that has a comma"),
        (
            b"email,password\na,\xe9b\n",
            ", line 2: byte 3 of the line (0xe9) is not UTF-8",
            "save the file as UTF-8",
        ),
        (b'email,password\na,"b\n', ", line 2: unexpected end of data", '"double quotes"'),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    tmp_path: Path, content: bytes, message: str, hint: str
) -> None:
    file = write(tmp_path, content)
    with pytest.raises(UsageError) as caught:
        read_rows(file, COLUMNS)
    assert caught.value.message.startswith(str(file))
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_missing_file_is_named_with_the_place_that_was_searched(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist") as caught:
        read_rows(tmp_path / "none.csv", COLUMNS)
    assert caught.value.hint == f"looked for {tmp_path / 'none.csv'}"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_rows(tmp_path, COLUMNS)
