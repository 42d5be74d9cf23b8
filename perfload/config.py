"""The configuration of a run: perfload.toml, .env.performance, the environment and flags, read once.

A later source wins: defaults < perfload.toml < .env.performance < environment < flags. The sources are
arguments, so nothing here looks at the process it runs in. docs/configuration.md lists every key.
"""

from __future__ import annotations

import io
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dotenv.parser import parse_stream

from perfload import cluster_key
from perfload.cluster_key import ClusterKey
from perfload.errors import UsageError
from perfload.hosts import HostRules
from perfload.redact import redact
from perfload.suggest import did_you_mean
from perfload.thresholds import Rule, parse_rules
from perfload.units import parse_duration_s

CONFIG_FILE = "perfload.toml"
ENV_FILE = ".env.performance"


@dataclass(frozen=True, slots=True)
class Key:
    """One key of perfload.toml."""

    name: str
    """`table.key`, as flags and errors name it."""
    default: object
    """As it would be written in perfload.toml."""
    variable: str = ""
    """The environment variable that overrides it."""


KEYS = (
    Key("target.host", "", "PERFLOAD_HOST"),
    Key("target.allow", ["localhost", "127.0.0.1", "::1"], "PERFLOAD_ALLOW"),
    Key("target.wait_s", 0, "PERFLOAD_WAIT_S"),
    Key(
        "thresholds.rules",
        ["peak_users >= 100", "mean < 2s", "p95 < 5s", "error_rate <= 1%", "availability >= 99.9%"],
    ),
    Key("run.reports_dir", "reports", "PERFLOAD_REPORTS_DIR"),
    Key("run.drain", "65s", "PERFLOAD_DRAIN"),
    Key("run.seed", 0, "PERFLOAD_SEED"),
    Key("run.time_scale", 1.0, "PERFLOAD_TIME_SCALE"),
    Key("run.freeze_objects", True, "PERFLOAD_FREEZE_OBJECTS"),
    Key("validity.max_lag_p95", "50ms", "PERFLOAD_MAX_LAG_P95"),
    Key("validity.max_generator_cpu", "90%", "PERFLOAD_MAX_GENERATOR_CPU"),
    Key("monitors.interval", "1s", "PERFLOAD_MONITOR_INTERVAL"),
    Key("monitors.host", True, "PERFLOAD_MONITOR_HOST"),
)
_BY_NAME = {key.name: key for key in KEYS}
_TABLES = tuple(dict.fromkeys(name.partition(".")[0] for name in _BY_NAME))

SETTINGS = (
    "FRONTEND_URL",
    "BACKEND_URL",
    "MONGODB_URL",
    "REDIS_URL",
    "TEST_ADMIN_EMAIL",
    "TEST_ADMIN_PASSWORD",
    "TEST_SECRETARY_EMAIL",
    "TEST_SECRETARY_PASSWORD",
    "OPENAI_TEST_API_KEY",
    "ANTHROPIC_TEST_API_KEY",
)
"""Variables that scenarios and monitors read; `.env.performance` may define others beside them."""

OWN_VARIABLES = (*(key.variable for key in KEYS if key.variable), cluster_key.VARIABLE)
"""Every variable of perfload's own. A cluster's key is no part of `Config`, which is shown and stored."""


class Settings(Mapping[str, str]):
    """Addresses and accounts by variable name. Its repr hides secrets, its values do not."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Settings({redact(self._values)!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured, checked and in the units of the names.

    The phases of the plan are not known here: `parse_rules([rule.text for rule in config.rules],
    phases=...)` checks the phases that rules name once they are.
    """

    host: str
    """The target's URL: `target.host`, else `BACKEND_URL`, else empty."""
    host_rules: HostRules
    """Where load may go: the entries of every source together."""
    wait_s: float
    """How long to wait for the target to answer before the load; 0 does not wait."""
    rules: tuple[Rule, ...]
    reports_dir: Path
    """Relative ones are below the folder of perfload.toml."""
    drain_s: float
    """How long arrivals in flight may finish after the last phase."""
    seed: int
    time_scale: float
    """Durations of phases are divided by it: 60 makes an hour a minute."""
    freeze_objects: bool
    """Whether what lives as long as the load is kept out of Python's garbage collector."""
    max_lag_p95_ms: float
    """Above this p95 of arrival lag the generator, not the target, was the limit."""
    max_generator_cpu_percent: float
    """Of one core, for each generator process; in (0, 100]."""
    monitor_interval_s: float
    monitor_host: bool
    """Whether the machine that generates the load is monitored."""
    settings: Settings


def load_config(*, directory: Path, environ: Mapping[str, str], flags: Mapping[str, object]) -> Config:
    """Return the configuration from `directory`'s two files, `environ` and `flags`.

    `flags` maps names of `KEYS` to values as perfload.toml would have them; None counts as not given, an
    empty environment variable as not set. Either file may be missing. `target.allow` adds up over the
    sources; of every other key the strongest source wins. Raises `UsageError` that names source and key.
    """
    read = _Reader(_read_toml(directory / CONFIG_FILE), _read_env(directory / ENV_FILE), environ, flags)
    settings = _settings(read.env_file, environ)
    return Config(
        host=read.text("target.host") or settings.get("BACKEND_URL", ""),
        host_rules=read.host_rules("target.allow"),
        wait_s=read.duration_s("target.wait_s"),
        rules=read.rules("thresholds.rules"),
        reports_dir=directory / read.text("run.reports_dir"),
        drain_s=read.duration_s("run.drain"),
        seed=read.integer("run.seed"),
        freeze_objects=read.switch("run.freeze_objects"),
        time_scale=read.positive("run.time_scale"),
        max_lag_p95_ms=read.duration_s("validity.max_lag_p95", zero=False) * 1000,
        max_generator_cpu_percent=read.percent("validity.max_generator_cpu"),
        monitor_interval_s=read.duration_s("monitors.interval", zero=False),
        monitor_host=read.switch("monitors.host"),
        settings=settings,
    )


def load_cluster_key(*, directory: Path, environ: Mapping[str, str]) -> ClusterKey | None:
    """Return the key of the cluster from `environ` or, weaker, `.env.performance` in `directory`.

    None when there is none. Raises `UsageError` for one that has a typo.
    """
    name = cluster_key.VARIABLE
    if environ.get(name):
        return ClusterKey.parse(environ[name])
    text = _read_env(directory / ENV_FILE).get(name, "")
    return ClusterKey.parse(text, f"{ENV_FILE}: {name}") if text else None


@dataclass(frozen=True, slots=True)
class _Found:
    """A value before it is checked."""

    value: object
    source: str
    """What errors call it: `perfload.toml: run.drain` or `PERFLOAD_DRAIN`."""
    is_text: bool
    """From the environment, where every value is a text."""

    def wrong(self, wanted: str) -> UsageError:
        return UsageError(f"{self.source} is {redact(repr(self.value))}", hint=f"write {wanted}")


class _Reader:
    """Finds the strongest value of a key and reads it as the type that it must have."""

    def __init__(
        self,
        toml: Mapping[str, object],
        env_file: Mapping[str, str],
        environ: Mapping[str, str],
        flags: Mapping[str, object],
    ) -> None:
        for name in flags:
            if name not in _BY_NAME:
                raise UsageError(f"unknown option {name}", hint=_known(name, list(_BY_NAME)))
        self.toml = toml
        self.env_file = env_file
        self._environ = environ
        self._flags = flags

    def found(self, name: str) -> _Found:
        """Return the value of `name` from the strongest source that has one."""
        return next(self._all(name))

    def _all(self, name: str) -> Iterator[_Found]:
        """Yield the values of `name`, the strongest first; the default only where the file has none."""
        key = _BY_NAME[name]
        if self._flags.get(name) is not None:
            yield _Found(self._flags[name], f"option {name}", False)
        if self._environ.get(key.variable):
            yield _Found(self._environ[key.variable], key.variable, True)
        elif self.env_file.get(key.variable):
            yield _Found(self.env_file[key.variable], f"{ENV_FILE}: {key.variable}", True)
        yield _Found(self.toml.get(name, key.default), f"{CONFIG_FILE}: {name}", False)

    def text(self, name: str) -> str:
        found = self.found(name)
        if not isinstance(found.value, str):
            raise found.wrong("a text in quotes")
        return found.value

    def integer(self, name: str) -> int:
        found = self.found(name)
        value = _whole(found.value) if found.is_text else found.value
        if not isinstance(value, int) or isinstance(value, bool):
            raise found.wrong("a whole number")
        return value

    def positive(self, name: str) -> float:
        found = self.found(name)
        value = _number(found.value, text_too=found.is_text)
        if value is None or value <= 0:
            raise found.wrong("a number above 0")
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


def _texts(found: _Found) -> list[str]:
    if found.is_text:
        return [part.strip() for part in str(found.value).split(",") if part.strip()]
    if not isinstance(found.value, Sequence) or isinstance(found.value, str):
        raise found.wrong('a list of texts, such as ["a", "b"]')
    if not all(isinstance(item, str) for item in found.value):
        raise found.wrong('a list of texts, such as ["a", "b"]')
    return list(found.value)


def _read_toml(path: Path) -> dict[str, object]:
    """Return the values of perfload.toml by `table.key`; nothing when there is no such file."""
    try:
        tables = tomllib.loads(_read_file(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}", hint="perfload.toml is TOML: https://toml.io") from None
    values: dict[str, object] = {}
    for table, held in tables.items():
        if table not in _TABLES:
            what = f"table [{table}]" if isinstance(held, dict) else f"key {table}"
            known = _TABLES if isinstance(held, dict) else tuple(_BY_NAME)
            raise UsageError(f"{CONFIG_FILE}: unknown {what}", hint=_known(table, known))
        if not isinstance(held, dict):
            raise UsageError(
                f"{CONFIG_FILE}: {table} is {held!r}", hint=f"write [{table}] and its keys in the lines below"
            )
        values.update(_table_values(table, held))
    return values


def _table_values(table: str, held: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for key, value in held.items():
        name = f"{table}.{key}"
        if name not in _BY_NAME:
            siblings = [known for known in _BY_NAME if known.startswith(f"{table}.")]
            raise UsageError(f"{CONFIG_FILE}: unknown key {name}", hint=_known(name, siblings))
        yield name, value


def _read_env(path: Path) -> dict[str, str]:
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
        if name.startswith("PERFLOAD_") and name not in OWN_VARIABLES:
            raise UsageError(f"{path}: unknown variable {name}", hint=_known(name, OWN_VARIABLES))
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


def _settings(env_file: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """Return the variables that are not perfload's own; one set in the environment wins."""
    names = dict.fromkeys((*SETTINGS, *env_file))
    found = {name: environ.get(name) or env_file.get(name, "") for name in names}
    return Settings(
        {name: value for name, value in found.items() if value and not name.startswith("PERFLOAD_")}
    )


def _known(name: str, known: Sequence[str]) -> str:
    return f"{did_you_mean(name, known)}Known: {', '.join(known)}"
