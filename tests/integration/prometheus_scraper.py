"""A real Prometheus that scrapes a load test, with the rules and the configuration that perfload ships."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

import yaml

from tests.integration.locust_runs import ROOT, free_port

MONITORING = ROOT / "monitoring"
PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")
START_S = 30.0


def copy_of_monitoring(folder: Path) -> Path:
    """Return a copy of monitoring/ with the agents' token, which git does not have."""
    copy = folder / "monitoring"
    shutil.copytree(MONITORING, copy, ignore=shutil.ignore_patterns("grafana", "token"))
    (copy / "agents" / "token").write_text("a token")
    return copy


class Scraper:
    """Prometheus in `folder`, with the job `perfload` aimed at a port of this machine, once a second."""

    def __init__(self, folder: Path, target_port: int) -> None:
        self._folder = folder
        self._port = free_port()
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        copy = copy_of_monitoring(folder)
        config = yaml.safe_load((copy / "prometheus.yml").read_text("utf-8"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        job = next(job for job in config["scrape_configs"] if job["job_name"] == "perfload")
        job["static_configs"] = [{"targets": [f"127.0.0.1:{target_port}"]}]
        config["scrape_configs"] = [job]
        (copy / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
        self._config = copy / "prometheus.yml"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        assert PROMETHEUS is not None
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    PROMETHEUS,
                    f"--config.file={self._config}",
                    f"--storage.tsdb.path={self._folder / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline_s = time.monotonic() + START_S
        while not self._is_ready():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline_s, self.log
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        """What it has to say."""
        return (self._folder / "prometheus.log").read_text("utf-8")

    def _is_ready(self) -> bool:
        try:
            self._get("/-/ready")
        except OSError:
            return False
        return True

    def _get(self, path: str, **parameters: str) -> bytes:
        url = f"http://127.0.0.1:{self._port}{path}?{urllib.parse.urlencode(parameters)}"
        with self._opener.open(url, timeout=10) as answer:
            return bytes(answer.read())

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of everything that `expression` gives now; none that is no number."""
        data: Any = json.loads(self._get("/api/v1/query", query=expression))["data"]
        found = [(row["metric"], float(row["value"][1])) for row in data["result"]]
        return [(labels, value) for labels, value in found if value == value]  # noqa: PLR0124  # not NaN

    def value(self, expression: str) -> float:
        """Return the one number that `expression` gives; 0 as long as there is none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else 0.0

    def rule_problems(self) -> list[str]:
        """Return what is wrong with the rules, in Prometheus' words."""
        groups: Any = json.loads(self._get("/api/v1/rules"))["data"]["groups"]
        return [rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")]
