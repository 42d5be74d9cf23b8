"""What a run is, written down before it starts."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

from perfload import __version__
from perfload.config import Config
from perfload.load.http.stamps import describe_source
from perfload.model import Manifest, PhaseSpan
from perfload.plan import Plan
from perfload.redact import redact

CLOSED_LOAD = "Closed load"
"""The one phase of a run without a plan: Locust's own users."""

_OPTIONS = (
    "num_users",
    "spawn_rate",
    "run_time",
    "stop_timeout",
    "processes",
    "tags",
    "exclude_tags",
    "user_classes",
    "time_scale",
    "seed",
)
"""The options that shape a run. Others, and what scenario authors add, may hold secrets and are left out."""


def whole_run() -> PhaseSpan:
    """Return the phase of a run without a plan; it lasts until the run ends."""
    return PhaseSpan(CLOSED_LOAD, 0.0, 0.0, "users", 0.0, 0.0, planned=0)


def describe(
    environment: Any, config: Config, plan: Plan | None, *, run_id: str, started_at_s: float
) -> Manifest:
    """Return the manifest of a run that is about to start."""
    hosts = {environment.host} if environment.host else {user.host for user in environment.user_classes}
    options = vars(environment.parsed_options) if environment.parsed_options else {}
    return Manifest(
        run_id=run_id,
        started_at_s=started_at_s,
        host=", ".join(str(redact(host)) for host in sorted(filter(None, hosts))),
        scenarios=tuple(sorted(user.__name__ for user in environment.user_classes)),
        shape=type(environment.shape_class).__name__ if environment.shape_class else "",
        phases=plan.spans if plan else (whole_run(),),
        thresholds=tuple(rule.text for rule in config.rules),
        time_scale=plan.time_scale if plan else 1.0,
        max_lag_p95_ms=config.max_lag_p95_ms,
        max_generator_cpu_percent=config.max_generator_cpu_percent,
        options={name: options[name] for name in _OPTIONS if options.get(name) is not None},
        environment=_fingerprint(),
    )


def _fingerprint() -> dict[str, object]:
    return {
        "perfload": __version__,
        "locust": version("locust"),
        "gevent": version("gevent"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "host": platform.node(),
        "receive_times": describe_source(),
    }
