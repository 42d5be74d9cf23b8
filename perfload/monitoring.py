"""What a run is to watch: the part of the configuration that monitors are made from.

It reaches them as environment variables, addresses and secrets included: a command line is seen by every user
of the machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

AGENT_TOKEN = "PERFLOAD_AGENT_TOKEN"  # noqa: S105  # the name of a variable
"""The variable with what an agent asks of whoever reads from it."""

PROMETHEUS_TOKEN = "PERFLOAD_PROMETHEUS_TOKEN"  # noqa: S105  # the name of a variable
"""The variable with what a Prometheus asks of whoever reads from it, if it does."""

SECRETS = (AGENT_TOKEN, PROMETHEUS_TOKEN)
"""Variables without a key in perfload.toml: they come from the environment and reach monitors with it."""

GPU_CHOICES = ("auto", "on", "off")
PROFILE_CHOICES = ("off", "slow", "all")


@dataclass(frozen=True, slots=True)
class AgentAddress:
    """An agent on another machine (`perfload agent`), and what its machine is called in the report."""

    name: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """Which monitors a run has. One that needs an address is on where there is one: `MONGODB_URL`."""

    interval_s: float
    """Between two readings."""
    intervals_s: Mapping[str, float]
    """The same of single monitors, by name."""
    timeout_s: float
    """A monitor that takes longer has no values."""
    host: bool
    """Whether the machine that keeps the record is watched."""
    processes: tuple[str, ...]
    """Chosen ones on it: `name:uvicorn`, `pid:4711`, `port:8000`."""
    gpu: str
    """`auto`: where there is one."""
    mongodb: bool
    mongodb_profile: str
    """What MongoDB's profiler is to record meanwhile: `off` leaves it as it is."""
    mongodb_slow_ms: float
    """From which duration on an operation counts as slow."""
    redis: bool
    prometheus_url: str
    prometheus_queries: Mapping[str, str]
    """PromQL by the name of the series in the report."""
    agents: tuple[AgentAddress, ...]

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that monitors are made from; `settings` has the addresses and secrets."""
        agents = [{"name": agent.name, "url": agent.url} for agent in self.agents]
        return {
            **settings,
            "PERFLOAD_MONITOR_PROCESSES": ",".join(self.processes),
            "PERFLOAD_MONITOR_GPU": self.gpu,
            "PERFLOAD_MONGODB_PROFILE": self.mongodb_profile,
            "PERFLOAD_MONGODB_SLOW": f"{self.mongodb_slow_ms:g}ms",
            "PERFLOAD_PROMETHEUS_URL": self.prometheus_url,
            "PERFLOAD_PROMETHEUS_QUERIES": json.dumps(dict(self.prometheus_queries)),
            "PERFLOAD_AGENTS": json.dumps(agents),
        }
