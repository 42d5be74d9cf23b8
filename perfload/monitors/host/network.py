"""Network interfaces, and what TCP had to do again or turn away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from perfload.monitors.base import MonitorUnavailable
from perfload.monitors.host.counters import Counters
from perfload.monitors.host.parts import NotHere, Values, read_file


class Interfaces:
    """Traffic over all interfaces but loopback."""

    units = MappingProxyType(
        {
            "network_sent_bytes_per_s": "bytes/s",
            "network_received_bytes_per_s": "bytes/s",
            "network_sent_packets_per_s": "/s",
            "network_received_packets_per_s": "/s",
            "network_errors_per_s": "/s",
            "network_drops_per_s": "/s",
        }
    )

    def __init__(self, psutil: Any) -> None:
        self._psutil = psutil
        self._counters = Counters()

    def read(self, at_s: float) -> Values:
        """Return rates since the read before."""
        # nowrap would hide that counters were reset.
        found = self._psutil.net_io_counters(pernic=True, nowrap=False) or {}
        interfaces = {
            name: (
                counter.bytes_sent,
                counter.bytes_recv,
                counter.packets_sent,
                counter.packets_recv,
                counter.errin + counter.errout,
                counter.dropin + counter.dropout,
            )
            for name, counter in found.items()
            if not _is_loopback(name)
        }
        if not interfaces:
            raise NotHere("this host has no network interface but loopback")
        gained = self._counters.gained(at_s, interfaces)
        return {} if gained is None else dict(zip(self.units, gained.rates(), strict=True))


def _is_loopback(interface: str) -> bool:
    """Say whether it is called `lo` (Linux), `lo0` (macOS, BSD) or `Loopback Pseudo-…` (Windows)."""
    return interface.lower().startswith("loopback") or interface.rstrip("0123456789") == "lo"


class Retransmissions:
    """Segments that TCP had to send again; loopback is among them."""

    units = MappingProxyType({"tcp_retransmits_per_s": "/s", "tcp_retransmits_percent": "%"})

    def __init__(self, proc: Path) -> None:
        self._path = proc / "net" / "snmp"
        self._counters = Counters()

    def read(self, at_s: float) -> Values:
        """Return the rate, and the share of all segments sent; no share where none were."""
        tcp = _protocol(self._path, "Tcp")
        counters = {"TCP": (tcp["RetransSegs"], tcp["OutSegs"])}
        gained = self._counters.gained(at_s, counters)
        if gained is None:
            return {}
        again_per_s, sent_per_s = gained.rates()
        rate = {"tcp_retransmits_per_s": again_per_s}
        return rate | {"tcp_retransmits_percent": 100 * again_per_s / sent_per_s} if sent_per_s else rate


class Listeners:
    """Connections that were turned away because a server did not accept them in time."""

    units = MappingProxyType({"tcp_listen_overflows_per_s": "/s", "tcp_listen_drops_per_s": "/s"})

    def __init__(self, proc: Path) -> None:
        self._path = proc / "net" / "netstat"
        self._counters = Counters()

    def read(self, at_s: float) -> Values:
        """Return rates since the read before."""
        extended = _protocol(self._path, "TcpExt")
        gained = self._counters.gained(
            at_s, {"the listeners": (extended["ListenOverflows"], extended["ListenDrops"])}
        )
        return {} if gained is None else dict(zip(self.units, gained.rates(), strict=True))


def _protocol(path: Path, name: str) -> Mapping[str, int]:
    """Return the counters of one protocol in a file of line pairs: `Tcp: names…`, `Tcp: numbers…`."""
    lines = [line for line in read_file(path).splitlines() if line.startswith(f"{name}: ")]
    if len(lines) != 2:
        raise MonitorUnavailable(f"{path} has no counters of {name}")
    names, numbers = (line.split()[1:] for line in lines)
    return {field: int(number) for field, number in zip(names, numbers, strict=True)}
