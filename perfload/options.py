"""perfload's options on Locust's command line, known without Locust too: `perfload run --help` lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STOP_TIMEOUT_S = 10.0
"""How long users in flight may finish when a run is stopped (`--stop-timeout`); Locust's own default is 0."""

FLAG_KEYS = {
    "allow_host": "target.allow",
    "wait_for_target": "target.wait_s",
    "threshold": "thresholds.rules",
    "reports_dir": "run.reports_dir",
    "time_scale": "run.time_scale",
    "seed": "run.seed",
    "prometheus_port": "prometheus.port",
}
"""Option -> the key of perfload.toml that it overrides."""


def add_options(parser: Any) -> None:
    """Add perfload's options to `parser`, Locust's or any.

    Values are checked with the rest of the configuration, so here they are texts. Secrets have no option:
    Locust sends every one of them to every worker that connects.
    """
    about = "the same as keys of perfload.toml: docs/configuration.md"
    # Options of a group stay out of the web UI.
    add = parser.add_argument_group("perfload options", about).add_argument
    add(
        "--time-scale",
        metavar="N",
        type=float,
        help="Divide the durations of all phases by N; rates and counts stay. 60 makes an hour a minute",
    )
    add(
        "--allow-host",
        metavar="HOST",
        action="append",
        help="Allow load to HOST, host:port or *.example.com (repeatable; loopback is always allowed)",
    )
    add(
        "--wait-for-target",
        metavar="DURATION",
        help='Wait this long for the target to answer before the load starts, such as "60s"',
    )
    add(
        "--threshold",
        metavar="RULE",
        action="append",
        help="Judge the run by RULE instead of the rules of perfload.toml (repeatable), "
        'such as "p95(POST /api/auth/login) < 800ms"',
    )
    add("--reports-dir", metavar="DIR", help="Write run records below DIR (default: reports)")
    add(
        "--seed",
        metavar="N",
        type=int,
        help="Seed of everything random about the load, such as the mix of scenarios",
    )
    add(
        "--prometheus-port",
        metavar="PORT",
        type=int,
        help="Serve /metrics for Prometheus on this port while the process lives (default: nowhere)",
    )
    add(
        "--insecure-cluster",
        action="store_true",
        help="Let a master without a key (PERFLOAD_CLUSTER_KEY) listen on other addresses than loopback: "
        "whoever reaches it can join, read the options of the run and send results",
    )


def config_flags(options: Mapping[str, Any]) -> dict[str, object]:
    """Return the flags among Locust's parsed `options`, by key of perfload.toml; absent ones are None."""
    return {key: options.get(option) for option, key in FLAG_KEYS.items()}
