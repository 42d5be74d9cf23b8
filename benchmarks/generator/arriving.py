"""Tools in the open model: so many arrivals a second, each with a connection of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generator.cases import CASES
from benchmarks.generator.tools import (
    VISITOR,
    Command,
    Load,
    artillery_script,
    locust_command,
    one_core,
    path_of,
)

ACCOUNT = {"email": "admin@test.com", "password": "testpass123"}
LOCUSTFILE, PLAN = (str(VISITOR.with_name(name)) for name in ("arrival.py", "arrival_plan.py"))


@dataclass(frozen=True)
class Arrivals:
    """A load of arrivals: a login and a GET each, or only the GET."""

    base_url: str
    rate_per_s: int
    seconds: int
    folder: Path
    has_login: bool = True

    @property
    def load(self) -> Load:
        """The same as a load of users, for commands that are made from one."""
        return Load(self.base_url, CASES["get"], 1, self.folder, seconds=self.seconds + 60)

    def locust_env(self, client: str) -> dict[str, str]:
        """Return the environment of `arrival.py` and `arrival_plan.py`."""
        return {
            "BENCH_CLIENT": client,
            "BENCH_STEPS": "login" if self.has_login else "",
            "BENCH_RATE": str(self.rate_per_s),
            "BENCH_SECONDS": str(self.seconds),
        }


def perfload(arrivals: Arrivals) -> Command:
    """Return the command of perfload with a plan."""
    argv = locust_command([LOCUSTFILE, PLAN], arrivals.load, [], arrivals.locust_env("perfload"))
    # A plan has its own end.
    place = argv.argv.index("-t")
    return Command([*argv.argv[:place], *argv.argv[place + 2 :]], argv.env)


def fast_http_user(arrivals: Arrivals) -> Command:
    """Return the command of Locust with a user for each arrival of a second, who comes back every second."""
    users = str(arrivals.rate_per_s)
    env = {**arrivals.locust_env("FastHttpUser"), "BENCH_PACE": "1"}
    return locust_command([LOCUSTFILE], arrivals.load, ["-u", users, "-r", users], env)


def artillery(arrivals: Arrivals) -> Command:
    """Return the command of Artillery with a phase of this rate."""
    login = [{"post": {"url": "/login", "json": ACCOUNT}}] if arrivals.has_login else []
    phases = [{"duration": arrivals.seconds, "arrivalRate": arrivals.rate_per_s}]
    config = {"target": arrivals.base_url, "phases": phases, "http": {"timeout": 120}}
    script = {"config": config, "scenarios": [{"flow": [*login, {"get": {"url": "/get"}}]}]}
    return artillery_script(arrivals.load.write("script.json", json.dumps(script)))


K6_SCRIPT = """
import http from 'k6/http';
export const options = {{
  noVUConnectionReuse: true,
  scenarios: {{ arrivals: {{
    executor: 'constant-arrival-rate', rate: {rate}, timeUnit: '1s', duration: '{seconds}s',
    preAllocatedVUs: {users}, maxVUs: {most},
  }} }},
}};
const json = {{ headers: {{ 'Content-Type': 'application/json' }} }};
export default function () {{
  {login}
  http.get('{base}/get');
}}
"""


def k6(arrivals: Arrivals) -> Command:
    """Return the command of k6 with a constant arrival rate; no connection outlives an arrival."""
    login = f"http.post('{arrivals.base_url}/login', JSON.stringify({json.dumps(ACCOUNT)}), json);"
    script = K6_SCRIPT.format(
        rate=arrivals.rate_per_s,
        seconds=arrivals.seconds,
        users=arrivals.rate_per_s,
        most=max(1000, arrivals.rate_per_s * 2),
        login=login if arrivals.has_login else "",
        base=arrivals.base_url,
    )
    argv = [path_of("k6"), "run", "--quiet", "--no-usage-report", "--summary-export", "summary.json"]
    argv += ["--summary-trend-stats", "p(50),p(95),p(99),p(99.9),max"]
    return Command([*argv, arrivals.load.write("script.js", script)], one_core())


ARRIVING: dict[str, Callable[[Arrivals], Command]] = {
    "k6": k6,
    "artillery": artillery,
    "FastHttpUser": fast_http_user,
    "perfload": perfload,
}
PROGRAMS = {"k6": "k6", "artillery": "artillery"}
"""What must be found for those that do not come with perfload's own environment."""
