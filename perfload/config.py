"""The configuration of a run: perfload.toml, .env.performance, the environment and flags, read once.

A later source wins: defaults < perfload.toml < .env.performance < environment < flags. The sources are
arguments, so nothing here looks at the process it runs in. docs/configuration.md lists every key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from perfload import cluster_key
from perfload._config_files import CONFIG_FILE, ENV_FILE, read_env, read_toml
from perfload._config_values import Key, Values
from perfload.cluster_key import ClusterKey
from perfload.hosts import HostRules
from perfload.monitoring import GPU_CHOICES, PROFILE_CHOICES, SECRETS, AgentAddress, Monitoring
from perfload.redact import redact
from perfload.thresholds import Rule

KEYS = (
    Key("target.host", "", "PERFLOAD_HOST"),
    Key("target.allow", ["localhost", "127.0.0.1", "::1"], "PERFLOAD_ALLOW"),
    Key("target.wait_s", 0, "PERFLOAD_WAIT_S"),
    Key(
        "thresholds.rules",
        ["peak_users >= 100", "mean < 2s", "p95 < 5s", "error_rate <= 1%", "availability >= 99.9%"],
    ),
    Key("run.reports_dir", "reports", "PERFLOAD_REPORTS_DIR"),
    Key("run.drain", "65s", "PERFLOAD_DRAIN"),
    Key("run.seed", 0, "PERFLOAD_SEED"),
    Key("run.time_scale", 1.0, "PERFLOAD_TIME_SCALE"),
    Key("run.freeze_objects", True, "PERFLOAD_FREEZE_OBJECTS"),
    Key("validity.max_lag_p95", "50ms", "PERFLOAD_MAX_LAG_P95"),
    Key("validity.max_generator_cpu", "90%", "PERFLOAD_MAX_GENERATOR_CPU"),
    Key("monitors.interval", "1s", "PERFLOAD_MONITOR_INTERVAL"),
    Key("monitors.intervals", {}, "PERFLOAD_MONITOR_INTERVALS"),
    Key("monitors.timeout", "2s", "PERFLOAD_MONITOR_TIMEOUT"),
    Key("monitors.host", True, "PERFLOAD_MONITOR_HOST"),
    Key("monitors.processes", [], "PERFLOAD_MONITOR_PROCESSES"),
    Key("monitors.gpu", "auto", "PERFLOAD_MONITOR_GPU"),
    Key("monitors.mongodb", True, "PERFLOAD_MONITOR_MONGODB"),
    Key("monitors.redis", True, "PERFLOAD_MONITOR_REDIS"),
    Key("mongodb.profile", "off", "PERFLOAD_MONGODB_PROFILE"),
    Key("mongodb.slow", "100ms", "PERFLOAD_MONGODB_SLOW"),
    Key("prometheus.url", "", "PERFLOAD_PROMETHEUS_URL"),
    Key("prometheus.queries", {}, "PERFLOAD_PROMETHEUS_QUERIES"),
    Key("prometheus.port", 0, "PERFLOAD_PROMETHEUS_PORT"),
    Key("prometheus.bind", "127.0.0.1", "PERFLOAD_PROMETHEUS_BIND"),
    Key("agents", [], "PERFLOAD_AGENTS"),
    Key("ai.prices", "", "PERFLOAD_AI_PRICES"),
    Key("ai.max_cost", 0, "PERFLOAD_AI_MAX_COST"),
    Key("ai.max_tokens", 0, "PERFLOAD_AI_MAX_TOKENS"),
)
_BY_NAME = {key.name: key for key in KEYS}

SETTINGS = (
    "FRONTEND_URL",
    "BACKEND_URL",
    "MONGODB_URL",
    "MONGODB_DATABASE",
    "REDIS_URL",
    "TEST_ADMIN_EMAIL",
    "TEST_ADMIN_PASSWORD",
    "TEST_SECRETARY_EMAIL",
    "TEST_SECRETARY_PASSWORD",
    "OPENAI_TEST_API_KEY",
    "ANTHROPIC_TEST_API_KEY",
)
"""Variables that scenarios and monitors read; `.env.performance` may define others beside them."""

OWN_VARIABLES = (*(key.variable for key in KEYS if key.variable), cluster_key.VARIABLE, *SECRETS)
"""Every variable of perfload's own. A cluster's key is no part of `Config`, which is shown and stored."""


class Settings(Mapping[str, str]):
    """Addresses and accounts by variable name. Its repr hides secrets, its values do not."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Settings({redact(self._values)!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured, checked and in the units of the names.

    The phases of the plan are not known here: `parse_rules([rule.text for rule in config.rules],
    phases=...)` checks the phases that rules name once they are.
    """

    host: str
    """The target's URL: `target.host`, else `BACKEND_URL`, else empty."""
    host_rules: HostRules
    """Where load may go: the entries of every source together."""
    wait_s: float
    """How long to wait for the target to answer before the load; 0 does not wait."""
    rules: tuple[Rule, ...]
    reports_dir: Path
    """Relative ones are below the folder of perfload.toml."""
    drain_s: float
    """How long arrivals in flight may finish after the last phase."""
    seed: int
    time_scale: float
    """Durations of phases are divided by it: 60 makes an hour a minute."""
    freeze_objects: bool
    """Whether what lives as long as the load is kept out of Python's garbage collector."""
    max_lag_p95_ms: float
    """Above this p95 of arrival lag the generator, not the target, was the limit."""
    max_generator_cpu_percent: float
    """Of one core, for each generator process; in (0, 100]."""
    monitoring: Monitoring
    prometheus_port: int
    """Where Prometheus may read the run while it goes on; 0: nowhere."""
    prometheus_bind: str
    ai_prices: str = ""
    """Path of a JSON file with what tokens of language models cost; empty: none."""
    ai_max_cost: float = 0.0
    """The most that a run may spend on them, in its currency; 0: no cap."""
    ai_max_tokens: float = 0.0
    """The most tokens that it may use; 0: no cap."""
    settings: Settings


def load_config(*, directory: Path, environ: Mapping[str, str], flags: Mapping[str, object]) -> Config:
    """Return the configuration from `directory`'s two files, `environ` and `flags`.

    `flags` maps names of `KEYS` to values as perfload.toml would have them; None counts as not given, an
    empty environment variable as not set. Either file may be missing. `target.allow` adds up over the
    sources; of every other key the strongest source wins. Raises `UsageError` that names source and key.
    """
    toml = read_toml(directory / CONFIG_FILE, list(_BY_NAME))
    read = Values(_BY_NAME, toml, read_env(directory / ENV_FILE, OWN_VARIABLES), environ, flags)
    settings = _settings(read.env_file, environ)
    return Config(
        host=read.text("target.host") or settings.get("BACKEND_URL", ""),
        host_rules=read.host_rules("target.allow"),
        wait_s=read.duration_s("target.wait_s"),
        rules=read.rules("thresholds.rules"),
        reports_dir=directory / read.text("run.reports_dir"),
        drain_s=read.duration_s("run.drain"),
        seed=read.integer("run.seed"),
        freeze_objects=read.switch("run.freeze_objects"),
        time_scale=read.positive("run.time_scale"),
        max_lag_p95_ms=read.duration_s("validity.max_lag_p95", zero=False) * 1000,
        max_generator_cpu_percent=read.percent("validity.max_generator_cpu"),
        monitoring=_monitoring(read),
        prometheus_port=read.port("prometheus.port"),
        prometheus_bind=read.text("prometheus.bind"),
        ai_prices=read.text("ai.prices"),
        ai_max_cost=read.not_negative("ai.max_cost"),
        ai_max_tokens=read.not_negative("ai.max_tokens"),
        settings=settings,
    )


def _monitoring(read: Values) -> Monitoring:
    return Monitoring(
        interval_s=read.duration_s("monitors.interval", zero=False),
        intervals_s=read.durations_s("monitors.intervals"),
        timeout_s=read.duration_s("monitors.timeout", zero=False),
        host=read.switch("monitors.host"),
        processes=read.texts("monitors.processes"),
        gpu=read.choice("monitors.gpu", GPU_CHOICES),
        mongodb=read.switch("monitors.mongodb"),
        mongodb_profile=read.choice("mongodb.profile", PROFILE_CHOICES),
        mongodb_slow_ms=read.duration_s("mongodb.slow") * 1000,
        redis=read.switch("monitors.redis"),
        prometheus_url=read.text("prometheus.url"),
        prometheus_queries=read.texts_by_name("prometheus.queries"),
        agents=tuple(AgentAddress(**agent) for agent in read.tables("agents", ("name", "url"))),
    )


def load_cluster_key(*, directory: Path, environ: Mapping[str, str]) -> ClusterKey | None:
    """Return the key of the cluster from `environ` or, weaker, `.env.performance` in `directory`.

    None when there is none. Raises `UsageError` for one that has a typo.
    """
    name = cluster_key.VARIABLE
    if environ.get(name):
        return ClusterKey.parse(environ[name])
    text = read_env(directory / ENV_FILE, OWN_VARIABLES).get(name, "")
    return ClusterKey.parse(text, f"{ENV_FILE}: {name}") if text else None


def _settings(env_file: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """Return the variables that are not perfload's own; one set in the environment wins."""
    names = dict.fromkeys((*SETTINGS, *SECRETS, *env_file))
    found = {name: environ.get(name) or env_file.get(name, "") for name in names}
    return Settings(
        {
            name: value
            for name, value in found.items()
            if value and (name in SECRETS or not name.startswith("PERFLOAD_"))
        }
    )
