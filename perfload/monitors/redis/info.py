"""INFO as gauges, and as rates over the interval between two answers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ParamSpec

from perfload.monitors.base import Measurement, MonitorUnavailable

Arguments = ParamSpec("Arguments")

Fields = Mapping[str, str]
"""The lines of INFO."""

MAX_INFO_BYTES = 1_048_576
"""What lies behind is not looked at: a real answer has some 10 kB."""
MAX_LABEL_CHARS = 60
MAX_DATABASES = 20
MAX_REPLICAS = 20

_GAUGES = (
    ("clients_connected", "clients", "connected_clients"),
    ("clients_blocked", "clients", "blocked_clients"),
    ("memory_used_bytes", "bytes", "used_memory"),
    ("memory_peak_bytes", "bytes", "used_memory_peak"),
    ("memory_rss_bytes", "bytes", "used_memory_rss"),
    ("memory_fragmentation_ratio", "", "mem_fragmentation_ratio"),
    ("loading", "", "loading"),
    ("rdb_save_in_progress", "", "rdb_bgsave_in_progress"),
    ("rdb_changes_since_save", "changes", "rdb_changes_since_last_save"),
    ("aof_rewrite_in_progress", "", "aof_rewrite_in_progress"),
    ("last_fork_us", "us", "latest_fork_usec"),
    ("replicas_connected", "replicas", "connected_slaves"),
)
"""(metric, unit, line of INFO)."""

_RATES = (
    ("commands_per_s", "commands/s", "total_commands_processed"),
    ("error_replies_per_s", "errors/s", "total_error_replies"),
    ("connections_per_s", "connections/s", "total_connections_received"),
    ("connections_rejected_per_s", "connections/s", "rejected_connections"),
    ("hits_per_s", "keys/s", "keyspace_hits"),
    ("misses_per_s", "keys/s", "keyspace_misses"),
    ("evicted_per_s", "keys/s", "evicted_keys"),
    ("expired_per_s", "keys/s", "expired_keys"),
    ("network_received_bytes_per_s", "bytes/s", "total_net_input_bytes"),
    ("network_sent_bytes_per_s", "bytes/s", "total_net_output_bytes"),
)

_PROCESSOR = (
    ("cpu_user_percent", ("used_cpu_user",)),
    ("cpu_system_percent", ("used_cpu_sys",)),
    ("cpu_main_thread_percent", ("used_cpu_user_main_thread", "used_cpu_sys_main_thread")),
)
"""(metric, lines of INFO with seconds that add up)."""

_DATABASE = re.compile(r"db\d{1,6}")
_REPLICA = re.compile(r"slave\d{1,6}")
_UNPRINTABLE = re.compile(r"[^!-~]")


def parse_info(answer: object) -> Fields:
    """Return the lines of an answer to INFO by their names; a line of another form is left out."""
    if not isinstance(answer, bytes):
        raise MonitorUnavailable(f"INFO is answered with a {type(answer).__name__}")
    fields: dict[str, str] = {}
    for line in answer[:MAX_INFO_BYTES].decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if colon and not name.startswith("#"):
            fields.setdefault(name, value)
    return fields


def number(fields: Fields, name: str) -> float:
    """Return what the line `name` says; raises `MonitorUnavailable` when there is none, or no number."""
    if name not in fields:
        raise MonitorUnavailable(f"INFO of this server has no {name}")
    try:
        value = float(fields[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise MonitorUnavailable(f"INFO says {name}:{fields[name][:MAX_LABEL_CHARS]}")
    return value


def parts(text: str) -> Fields:
    """Return the parts of a line such as `keys=3,expires=1`."""
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


def label(text: str) -> str:
    """Return a name that the server chose, fit to stand in the brackets of a metric."""
    shown = _UNPRINTABLE.sub("?", text).replace("[", "(").replace("]", ")")
    return shown if len(shown) <= MAX_LABEL_CHARS else f"{shown[: MAX_LABEL_CHARS - 1]}…"


@dataclass(frozen=True, slots=True)
class Interval:
    """Two answers to INFO, and the seconds between them. `fault`: why they can not be compared."""

    seconds: float
    before: Fields
    now: Fields
    fault: str = ""

    @classmethod
    def between(cls, before_s: float, before: Fields, now_s: float, now: Fields) -> Interval:
        """Return the interval, with its fault if time stood still or the server is another one."""
        fault = ""
        if now_s <= before_s:
            fault = "no time passed between two reads"
        elif before.get("run_id") != now.get("run_id"):
            fault = "the server was restarted between two reads"
        return cls(now_s - before_s, before, now, fault)

    def gained(self, name: str, part: str = "") -> float:
        """Return by how much a counter rose: the line `name`, or one part of it.

        Raises `MonitorUnavailable` if that cannot be told.
        """
        if self.fault:
            raise MonitorUnavailable(self.fault)
        before, now = self.before, self.now
        if part:
            # A line that is new counts from 0: the command was not called before.
            before, now = ({part: "0", **parts(side.get(name, ""))} for side in (before, now))
        gained = number(now, part or name) - number(before, part or name)
        if gained < 0:
            raise MonitorUnavailable(f"{name} ran backwards: were the statistics reset?")
        return gained

    def per_s(self, *names: str) -> float:
        """Return how fast counters rose together."""
        return sum(self.gained(name) for name in names) / self.seconds

    def percent(self, *names: str) -> float:
        """Return how many seconds of a hundred counters of seconds rose by together."""
        return 100 * self.per_s(*names)


def measured(
    metric: str,
    unit: str,
    calculate: Callable[Arguments, float],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Measurement:
    """Return a measurement of what `calculate` returns for the arguments, or of why it cannot."""
    try:
        return Measurement(metric, unit, calculate(*args, **kwargs))
    except MonitorUnavailable as error:
        return Measurement(metric, unit, None, error.message)


def gauges(fields: Fields, settings: Fields) -> Iterator[Measurement]:
    """Yield what holds at this moment. `settings` are those of CONFIG GET, as far as they are known."""
    for metric, unit, name in _GAUGES:
        yield measured(metric, unit, number, fields, name)
    yield measured("clients_max", "clients", number, {**settings, **fields}, "maxclients")
    yield measured("memory_limit_percent", "%", _memory_limit_percent, fields)
    yield from _keys(fields)
    yield from _replication(fields)


def rates(interval: Interval) -> Iterator[Measurement]:
    """Yield what happened per second of the interval."""
    for metric, unit, name in _RATES:
        yield measured(metric, unit, interval.per_s, name)
    for metric, names in _PROCESSOR:
        yield measured(metric, "%", interval.percent, *names)
    yield measured("hit_percent", "%", _hit_percent, interval)
    if interval.now.get("aof_enabled") == "1":
        yield measured("aof_delayed_fsyncs_per_s", "fsyncs/s", interval.per_s, "aof_delayed_fsync")


def _memory_limit_percent(fields: Fields) -> float:
    limit_bytes = number(fields, "maxmemory")
    if not limit_bytes:
        raise MonitorUnavailable("this server has no maxmemory")
    return 100 * number(fields, "used_memory") / limit_bytes


def _hit_percent(interval: Interval) -> float:
    hits, misses = interval.gained("keyspace_hits"), interval.gained("keyspace_misses")
    if not hits + misses:
        raise MonitorUnavailable("no key was looked up between two reads")
    return 100 * hits / (hits + misses)


def _keys(fields: Fields) -> Iterator[Measurement]:
    databases = {name: parts(text) for name, text in fields.items() if _DATABASE.fullmatch(name)}
    for name, held in sorted(databases.items(), key=lambda item: int(item[0][2:]))[:MAX_DATABASES]:
        yield measured(f"keys[{name}]", "keys", number, held, "keys")
        yield measured(f"keys_expiring[{name}]", "keys", number, held, "expires")
    # The one line that even an empty server has: without it, no database would mean no right to know.
    if "cluster_enabled" in fields or databases:
        yield measured("keys", "keys", _all_keys, list(databases.values()))


def _all_keys(databases: list[Fields]) -> float:
    return sum(number(held, "keys") for held in databases)


def _replication(fields: Fields) -> Iterator[Measurement]:
    if fields.get("role") == "slave":
        is_up = fields.get("master_link_status") == "up"
        yield Measurement("replication_link_up", "", float(is_up))
        silent = "master_last_io_seconds_ago" if is_up else "master_link_down_since_seconds"
        yield measured("replication_silent_s", "s", number, fields, silent)
        return
    replicas = {name: parts(text) for name, text in fields.items() if _REPLICA.fullmatch(name)}
    for name, replica in sorted(replicas.items(), key=lambda item: int(item[0][5:]))[:MAX_REPLICAS]:
        shown = label(f"{replica.get('ip', name)}:{replica.get('port', '')}")
        yield measured(f"replica_silent_s[{shown}]", "s", number, replica, "lag")
        yield measured(f"replica_behind_bytes[{shown}]", "bytes", _behind_bytes, fields, replica)


def _behind_bytes(fields: Fields, replica: Fields) -> float:
    return max(0.0, number(fields, "master_repl_offset") - number(replica, "offset"))
