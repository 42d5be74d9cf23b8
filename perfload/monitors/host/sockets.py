"""Open files, sockets and tracked connections, held against their limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from perfload.monitors.host.parts import Missing, NotHere, Values, read_file
from perfload.monitors.host.socket_diag import count_by_state

MAX_COUNTED = 50_000
"""Each socket costs a microsecond: with more of them their states are left out."""

FEW = 500
"""So many are counted by state at every read, more of them every `COUNT_EVERY_S`."""

COUNT_EVERY_S = 10.0

_STATES = MappingProxyType(
    {1: "established", 2: "syn_sent", 3: "syn_recv", 8: "close_wait", 10: "listen", 12: "syn_recv"}
)
"""The states that say something, by the kernel's number; the rest is `closing`."""

_NAMES = tuple(dict.fromkeys([*_STATES.values(), "closing"]))

_TIME_WAIT = 6
"""There may be very many, and the totals have their number."""

_ASKED = sum(1 << state for state in range(1, 13) if state != _TIME_WAIT)


class Files:
    """Open files of the whole host, held against the most it allows."""

    units = MappingProxyType({"open_files": "files", "open_files_percent": "%"})

    def __init__(self, proc: Path) -> None:
        self._path = proc / "sys" / "fs" / "file-nr"

    def read(self, at_s: float) -> Values:
        """Return the values of now."""
        del at_s
        allocated, unused, limit = map(int, read_file(self._path).split())
        return {"open_files": allocated - unused, "open_files_percent": 100 * (allocated - unused) / limit}


class Sockets:
    """How many TCP sockets there are, and now and then in which states."""

    units = MappingProxyType(
        {
            "tcp_sockets_in_use": "sockets",
            "tcp_sockets_orphaned": "sockets",
            "tcp_sockets_time_wait": "sockets",
            "tcp_sockets[]": "sockets",
        }
    )

    def __init__(
        self, proc: Path, *, count_by_state: Callable[[int], Mapping[int, int]] = count_by_state
    ) -> None:
        net = proc / "net"
        self._files = [(net / "sockstat", "TCP"), (net / "sockstat6", "TCP6")]
        self._count_by_state = count_by_state
        self._counted_at_s: float | None = None

    def read(self, at_s: float) -> Values:
        """Return the values of now; by state not at every read, if there are many."""
        in_use, orphaned, time_wait = self._totals()
        values: dict[str, float | Missing] = {
            "tcp_sockets_in_use": in_use,
            "tcp_sockets_orphaned": orphaned,
            "tcp_sockets_time_wait": time_wait,
        }
        waits = self._counted_at_s is not None and at_s - self._counted_at_s < COUNT_EVERY_S
        if in_use > FEW and waits:
            return values
        self._counted_at_s = at_s
        return values | self._by_state(in_use)

    def _by_state(self, in_use: int) -> dict[str, float | Missing]:
        reason = f"not counted by state: more than {MAX_COUNTED} sockets" if in_use > MAX_COUNTED else ""
        counts: Mapping[int, int] = {}
        if not reason:
            try:
                counts = self._count_by_state(_ASKED)
            except OSError as error:
                reason = f"not counted by state: {error.strerror or type(error).__name__}"
        if reason:
            return {f"tcp_sockets[{name}]": Missing(reason) for name in _NAMES}
        found: Counter[str] = Counter()
        for state, count in counts.items():
            found[_STATES.get(state, "closing")] += count
        return {f"tcp_sockets[{name}]": found[name] for name in _NAMES}

    def _totals(self) -> tuple[int, int, int]:
        words = _family(*self._files[0])
        try:
            six = _family(*self._files[1])
        except NotHere:
            # A kernel without version 6 of IP.
            six = {}
        return words["inuse"] + six.get("inuse", 0), words["orphan"], words["tw"]


def _family(path: Path, name: str) -> dict[str, int]:
    """Return the fields of one line such as `TCP: inuse 1 orphan 0 tw 0`."""
    for line in read_file(path).splitlines():
        if line.startswith(f"{name}: "):
            words = line.split()[1:]
            return dict(zip(words[::2], map(int, words[1::2]), strict=True))
    return {}


class Conntrack:
    """Connections that the firewall keeps track of; beyond the limit it drops packets."""

    units = MappingProxyType({"conntrack_entries": "connections", "conntrack_percent": "%"})

    def __init__(self, proc: Path) -> None:
        self._folder = proc / "sys" / "net" / "netfilter"

    def read(self, at_s: float) -> Values:
        """Return the values of now."""
        del at_s
        entries = int(read_file(self._folder / "nf_conntrack_count"))
        limit = int(read_file(self._folder / "nf_conntrack_max"))
        return {"conntrack_entries": entries, "conntrack_percent": 100 * entries / limit}
