"""Which monitors a run gets: those that are switched on, and have something to watch."""

from __future__ import annotations

from collections.abc import Mapping

from perfload.monitoring import Monitoring
from perfload.monitors import gpu
from perfload.monitors.agent import PREFIX as AGENT_PREFIX
from perfload.monitors.agent import AgentUrl
from perfload.monitors.processes import parse_choices


def selected(monitoring: Monitoring, settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the monitors, as the sampler takes them.

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
