"""Load generation on Locust; the one package that imports it.

Importing this hooks perfload up to the Locust process that loads the scenario file. Scenario and shape files
import from here:

    from perfload.load import DataFeeder, HttpUser, Phase, PhasedShape, expect_json, record
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from locust import events

from perfload.load import plugin
from perfload.load.ai import AnthropicUser, Conversation, Objectives, OpenAIUser, Tool
from perfload.load.checks import expect_json, expect_status
from perfload.load.feeder import DataFeeder
from perfload.load.shape import PhasedShape
from perfload.load.trace import TraceShape, TraceUser, traced
from perfload.load.users import HttpUser
from perfload.model import Phase

__all__ = [
    "AnthropicUser",
    "Conversation",
    "DataFeeder",
    "HttpUser",
    "Objectives",
    "OpenAIUser",
    "Phase",
    "PhasedShape",
    "Tool",
    "TraceShape",
    "TraceUser",
    "expect_json",
    "expect_status",
    "record",
    "record_values",
    "setting",
    "traced",
]

_plugin = plugin.install(events)


def record(metric: str, value: float, unit: str = "") -> None:
    """Record one value of a metric of your own; the report shows its percentiles, thresholds can name it.

    `value` is a number of at least 0, kept to three decimals; raises `UsageError` for any other. Outside a
    run nothing is recorded.
    """
    if _plugin.node is not None:
        _plugin.node.record(metric, value, unit)


def record_values(metric: str, values: Sequence[float], unit: str = "") -> None:
    """Record many values of one metric at once, as `record` does: for what comes by the thousand."""
    if _plugin.node is not None:
        _plugin.node.record_values(metric, values, unit)


def setting(name: str, default: str = "") -> str:
    """Return a variable of `.env.performance` or of the environment, such as `TEST_ADMIN_EMAIL`."""
    return _plugin.config.settings.get(name) or os.environ.get(name, default)
