"""Which monitors a run gets: those that are switched on, and have something to watch."""

from __future__ import annotations

from collections.abc import Mapping

from perfload.errors import UsageError
from perfload.monitoring import Monitoring
from perfload.monitors import gpu, monitor_names
from perfload.monitors.agent import PREFIX as AGENT_PREFIX
from perfload.monitors.agent import AgentUrl
from perfload.monitors.processes import parse_choices


def selected(monitoring: Monitoring, settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the monitors that are on.

    Raises `UsageError` for processes, and agents, that cannot be watched.
    """
    wanted = {
        "host": monitoring.host,
        "processes": bool(parse_choices(monitoring.processes)),
        "mongodb": monitoring.mongodb and bool(settings.get("MONGODB_URL")),
        "mongodb_profiler": (
            monitoring.mongodb and monitoring.mongodb_profile != "off" and bool(settings.get("MONGODB_URL"))
        ),
        "redis": monitoring.redis and bool(settings.get("REDIS_URL")),
        "gpu": monitoring.gpu == "on" or (monitoring.gpu == "auto" and gpu.is_present()),
        "prometheus": bool(monitoring.prometheus_url and monitoring.prometheus_queries),
    }
    for agent in monitoring.agents:
        AgentUrl.parse(agent.url, agent.name)
    wanted |= {f"{AGENT_PREFIX}{agent.name}": True for agent in monitoring.agents}
    return tuple(name for name, is_wanted in wanted.items() if is_wanted)


def sampled(monitoring: Monitoring, settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return those monitors as the sampler takes them, with an interval of their own where one is given.

    Raises `UsageError` as `selected`, and for the interval of a monitor that there is not.
    """
    names = selected(monitoring, settings)
    known = [*monitor_names(), *(name for name in names if name.startswith(AGENT_PREFIX))]
    for name in monitoring.intervals_s:
        if name not in known:
            raise UsageError(
                f"monitors.intervals: there is no monitor {name!r}", hint=f"Known: {', '.join(known)}"
            )
    intervals = {name: f"@{interval_s:g}s" for name, interval_s in monitoring.intervals_s.items()}
    return tuple(f"{name}{intervals.get(name, '')}" for name in names)
