"""What is checked before any load: the shape, the rules, the hosts, the target."""

from __future__ import annotations

from typing import Any

from locust.runners import MasterRunner

from perfload.config import Config
from perfload.errors import UsageError
from perfload.load.guard import check_host, wait_for_target
from perfload.load.shape import PhasedShape
from perfload.monitors.selection import sampled
from perfload.plan import Plan
from perfload.thresholds import parse_rules


class Preflight:
    """Every check raises `UsageError` that says what to do."""

    def __init__(self, environment: Any, config: Config) -> None:
        self._environment = environment
        self._config = config

    def plan(self, time_scale: float | None = None) -> Plan | None:
        """Return the plan of the shape in use, which may have been picked in the web UI; None without one."""
        shape = self._environment.shape_class
        scale = self._config.time_scale if time_scale is None else time_scale
        return shape.plan(scale) if isinstance(shape, PhasedShape) else None

    def check_shapes(self) -> None:
        """Refuse two shapes: Locust would take the first without a word."""
        shapes = self._environment.available_shape_classes or {}
        if len(shapes) > 1 and not self._environment.parsed_options.class_picker:
            raise UsageError(
                f"there are {len(shapes)} shapes: {', '.join(shapes)}", hint="name one of them with -f"
            )

    def check_rules(self) -> None:
        """Find mistakes in the plan, and in rules that name its phases."""
        plan = self.plan()
        if plan is not None:
            names = [span.name for span in plan.spans]
            parse_rules([rule.text for rule in self._config.rules], phases=names)

    def check_monitors(self) -> None:
        """Find mistakes in what is to be watched."""
        sampled(self._config.monitoring, self._config.settings)

    def check_host(self) -> None:
        """Refuse a host that load may not go to; it need not answer yet."""
        if self._environment.host:
            check_host(self._environment.host, self._config.host_rules)

    def check_target(self, host: str | None = None) -> None:
        """Refuse a target that is not allowed or does not answer."""
        for name in {host} if host is not None else self._hosts():
            check_host(name, self._config.host_rules)
            if not self._has_detour():
                wait_for_target(name, self._config.wait_s)

    def check_start(self, host: str | None) -> None:
        """Refuse a start from the web UI, at `host`, that would come to nothing."""
        runner = self._environment.runner
        if isinstance(runner, MasterRunner) and not runner.worker_count:
            raise UsageError("no worker is connected", hint="start one: locust -f ... --worker")
        self.check_target(host)

    def _hosts(self) -> set[str]:
        if self._environment.host:
            return {self._environment.host}
        return {user.host or "" for user in self._environment.user_classes}

    def _has_detour(self) -> bool:
        """Say whether users reach the host another way than this process would."""
        users = self._environment.user_classes
        detours = ("proxy", "unix_socket", "reaches_host_itself")
        return any(getattr(user, name, None) for user in users for name in detours)
