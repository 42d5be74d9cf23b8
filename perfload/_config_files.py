"""The files of a configuration: perfload.toml and .env.performance as flat values."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dotenv.parser import parse_stream

from perfload.errors import UsageError
from perfload.suggest import did_you_mean

CONFIG_FILE = "perfload.toml"
ENV_FILE = ".env.performance"


def read_toml(path: Path, names: Sequence[str]) -> dict[str, object]:
    """Return the values of perfload.toml by `table.key`, all of them in `names`; nothing if it is missing.

    A name without a dot is a list of tables: `[[agents]]`.
    """
    try:
        top = tomllib.loads(_read_file(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}", hint="perfload.toml is TOML: https://toml.io") from None
    values: dict[str, object] = {}
    tables = tuple(dict.fromkeys(name.partition(".")[0] for name in names))
    for table, held in top.items():
        if table in names:
            values[table] = held
            continue
        if table not in tables:
            what = f"table [{table}]" if isinstance(held, dict) else f"key {table}"
            raise UsageError(
                f"{CONFIG_FILE}: unknown {what}",
                hint=known_names(table, tables if isinstance(held, dict) else names),
            )
        if not isinstance(held, dict):
            raise UsageError(
                f"{CONFIG_FILE}: {table} is {held!r}", hint=f"write [{table}] and its keys in the lines below"
            )
        values.update(_table_values(table, held, names))
    return values


def _table_values(
    table: str, held: Mapping[str, object], names: Sequence[str]
) -> Iterator[tuple[str, object]]:
    for key, value in held.items():
        name = f"{table}.{key}"
        if name not in names:
            siblings = [known for known in names if known.startswith(f"{table}.")]
            raise UsageError(f"{CONFIG_FILE}: unknown key {name}", hint=known_names(name, siblings))
        yield name, value


def read_env(path: Path, own_variables: Sequence[str]) -> dict[str, str]:
    """Return the variables of `.env.performance`; nothing when there is no such file.

    A `$` in a value is itself: passwords hold them, and the process's environment is no source here.
    """
    values: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(_read_file(path))):
        if binding.error:
            # The line itself may hold a password, so it is not shown.
            raise UsageError(
                f"{path}: line {binding.original.line} is not understood",
                hint="write NAME=value, or NAME='value'",
            )
        if binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    for name in values:
        if name.startswith("PERFLOAD_") and name not in own_variables:
            raise UsageError(f"{path}: unknown variable {name}", hint=known_names(name, own_variables))
    return values


def _read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is not UTF-8", hint="save the file as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="it must be a file that can be read") from None


def known_names(name: str, known: Sequence[str]) -> str:
    """Return the hint for a `name` that nobody knows."""
    return f"{did_you_mean(name, known)}Known: {', '.join(known)}"
