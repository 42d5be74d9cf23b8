"""Values of a configuration: found in the strongest source, and read as the type that they must have."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perfload._config_files import CONFIG_FILE, ENV_FILE, known_names
from perfload.errors import UsageError
from perfload.hosts import HostRules
from perfload.redact import redact
from perfload.thresholds import Rule, parse_rules
from perfload.units import parse_duration_s


@dataclass(frozen=True, slots=True)
class Key:
    """One key of perfload.toml."""

    name: str
    """`table.key`, as flags and errors name it."""
    default: object
    """As it would be written in perfload.toml."""
    variable: str = ""
    """The environment variable that overrides it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A value before it is checked."""

    value: object
    source: str
    """What errors call it: `perfload.toml: run.drain` or `PERFLOAD_DRAIN`."""
    is_text: bool
    """From the environment, where every value is a text."""

    def wrong(self, wanted: str) -> UsageError:
        return UsageError(f"{self.source} is {redact(repr(self.value))}", hint=f"write {wanted}")


class Values:
    """Finds the strongest value of a key and reads it as the type that it must have."""

    def __init__(
        self,
        keys: Mapping[str, Key],
        toml: Mapping[str, object],
        env_file: Mapping[str, str],
        environ: Mapping[str, str],
        flags: Mapping[str, object],
    ) -> None:
        for name in flags:
            if name not in keys:
                raise UsageError(f"unknown option {name}", hint=known_names(name, list(keys)))
        self._keys = keys
        self.toml = toml
        self.env_file = env_file
        self._environ = environ
        self._flags = flags

    def found(self, name: str) -> Found:
        """Return the value of `name` from the strongest source that has one."""
        return next(self._all(name))

    def _all(self, name: str) -> Iterator[Found]:
        """Yield the values of `name`, the strongest first; the default only where the file has none."""
        key = self._keys[name]
        if self._flags.get(name) is not None:
            yield Found(self._flags[name], f"option {name}", False)
        if self._environ.get(key.variable):
            yield Found(self._environ[key.variable], key.variable, True)
        elif self.env_file.get(key.variable):
            yield Found(self.env_file[key.variable], f"{ENV_FILE}: {key.variable}", True)
        yield Found(self.toml.get(name, key.default), f"{CONFIG_FILE}: {name}", False)

    def text(self, name: str) -> str:
        found = self.found(name)
        if not isinstance(found.value, str):
            raise found.wrong("a text in quotes")
        return found.value

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(_texts(self.found(name)))

    def choice(self, name: str, choices: Sequence[str]) -> str:
        found = self.found(name)
        if found.value not in choices:
            raise found.wrong(" or ".join(f'"{choice}"' for choice in choices))
        return str(found.value)

    def texts_by_name(self, name: str) -> dict[str, str]:
        """Return a table of texts; in the environment it is a JSON object."""
        found = self.found(name)
        value = _json(found.value) if found.is_text else found.value
        if not isinstance(value, Mapping) or not all(isinstance(held, str) for held in value.values()):
            raise found.wrong('a table of texts: name = "text"')
        return dict(value)

    def durations_s(self, name: str) -> dict[str, float]:
        """Return a table of durations."""
        where = self.found(name).source
        return {
            key: parse_duration_s(text, f"{where}.{key}") for key, text in self.texts_by_name(name).items()
        }

    def tables(self, name: str, keys: Sequence[str]) -> tuple[dict[str, str], ...]:
        """Return a list of tables that have exactly `keys`, all texts; in the environment it is JSON."""
        found = self.found(name)
        value = _json(found.value) if found.is_text else found.value
        wanted = f"a table [[{name}]] with {' and '.join(keys)} for each"
        if not isinstance(value, list):
            raise found.wrong(wanted)
        for table in value:
            is_whole = isinstance(table, Mapping) and table.keys() == set(keys)
            if not is_whole or not all(isinstance(held, str) and held for held in table.values()):
                raise found.wrong(wanted)
        return tuple({key: table[key] for key in keys} for table in value)

    def integer(self, name: str) -> int:
        found = self.found(name)
        value = _whole(found.value) if found.is_text else found.value
        if not isinstance(value, int) or isinstance(value, bool):
            raise found.wrong("a whole number")
        return value

    def port(self, name: str) -> int:
        found = self.found(name)
        value = self.integer(name)
        if not 0 <= value <= 65_535:
            raise found.wrong("a port from 1 to 65535, or 0 for none")
        return value

    def positive(self, name: str) -> float:
        found = self.found(name)
        value = _number(found.value, text_too=found.is_text)
        if value is None or value <= 0:
            raise found.wrong("a number above 0")
        return value

    def not_negative(self, name: str) -> float:
        found = self.found(name)
        value = _number(found.value, text_too=found.is_text)
        if value is None or value < 0:
            raise found.wrong("a number of at least 0")
        return value

    def percent(self, name: str) -> float:
        """Return a percentage in (0, 100], written `"90%"` or as a number of percent."""
        found = self.found(name)
        value = _number(found.value, text_too=True)
        if value is None or not 0 < value <= 100:
            raise found.wrong('a percentage above 0 and up to 100, such as "90%"')
        return value

    def duration_s(self, name: str, *, zero: bool = True) -> float:
        found = self.found(name)
        if not isinstance(found.value, (str, int, float)):
            raise found.wrong('a duration: seconds (60) or a text with units ("60s")')
        seconds = parse_duration_s(found.value, found.source)
        if seconds == 0 and not zero:
            raise found.wrong("a duration above zero")
        return seconds

    def switch(self, name: str) -> bool:
        found = self.found(name)
        value = found.value
        if found.is_text:
            value = _SWITCHES.get(str(value).strip().lower())
        if not isinstance(value, bool):
            raise found.wrong("true or false")
        return value

    def host_rules(self, name: str) -> HostRules:
        """Return the rules of all sources together: a host allowed by a flag does not forbid the others."""
        entries: dict[str, None] = {}
        for found in self._all(name):
            texts = _texts(found)
            try:
                HostRules(texts)
            except UsageError as error:
                raise UsageError(f"{found.source}: {error.message}", hint=error.hint) from None
            entries = dict.fromkeys(texts) | entries
        return HostRules(entries)

    def rules(self, name: str) -> tuple[Rule, ...]:
        found = self.found(name)
        where = CONFIG_FILE if found.source.startswith(CONFIG_FILE) else found.source
        return parse_rules(_texts(found), label=f"{where}: threshold")


_SWITCHES = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def _json(value: object) -> Any:
    try:
        return json.loads(str(value))
    except (ValueError, RecursionError):
        return None


def _whole(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _number(value: object, *, text_too: bool) -> float | None:
    """Return the finite number that `value` is, or with `text_too` also writes; None when it is none."""
    if isinstance(value, str) and text_too:
        try:
            value = float(value.strip().removesuffix("%"))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _texts(found: Found) -> list[str]:
    if found.is_text:
        return [part.strip() for part in str(found.value).split(",") if part.strip()]
    if not isinstance(found.value, Sequence) or isinstance(found.value, str):
        raise found.wrong('a list of texts, such as ["a", "b"]')
    if not all(isinstance(item, str) for item in found.value):
        raise found.wrong('a list of texts, such as ["a", "b"]')
    return list(found.value)
