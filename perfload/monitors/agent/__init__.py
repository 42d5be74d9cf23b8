"""The readings of `perfload agent` on another machine, by way of HTTP: the master's side."""

from __future__ import annotations

from perfload.monitors.agent.link import AgentUrl
from perfload.monitors.agent.monitor import PREFIX, AgentMonitor, agent_factory

__all__ = ["PREFIX", "AgentMonitor", "AgentUrl", "agent_factory"]
