"""Locust's web UI with a plan: users in flight are seen, several runs give several records."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from perfload.target.process import TargetProcess
from tests.integration.locust_runs import AI_MODELS, free_port, locust, read_summary, run_folders

pytestmark = pytest.mark.integration

SHAPE = """
from perfload.load import Phase, PhasedShape

class Shape(PhasedShape):
    phases = (Phase(name="Load", duration="4s", arrival_rate=20),)
"""


class WebUi:
    """What a browser would send."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def read(self, path: str) -> bytes:
        with urllib.request.urlopen(self._url + path, timeout=20) as response:
            return bytes(response.read())

    def get(self, path: str) -> Any:
        return json.loads(self.read(path))

    def post(self, path: str, *, origin: str = "", **form: str) -> Any:
        data = urllib.parse.urlencode(form).encode()
        headers = {"Origin": origin or self._url}
        request = urllib.request.Request(self._url + path, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)


def test_a_session_with_several_runs(tmp_path: Path) -> None:
    shape = tmp_path / "shape.py"
    shape.write_text(SHAPE)
    port = free_port()
    ui = WebUi(port)
    arguments = ("-f", f"{AI_MODELS},{shape}", "--web-port", port, "--threshold", "error_rate <= 1%")
    with TargetProcess() as target, locust(*arguments, cwd=tmp_path) as process:
        process.wait_for("Starting web interface at http://127.0.0.1")
        wait_until_served(ui, process)

        refused = ui.post("/swarm", host="http://example.com")
        assert refused["success"] is False
        assert "load may not go to example.com" in refused["message"]
        dead = ui.post("/swarm", host="http://127.0.0.1:9")
        assert "nothing answers at http://127.0.0.1:9" in dead["message"]
        with pytest.raises(urllib.error.HTTPError, match="403"):
            ui.post("/swarm", origin="http://evil.example", host=target.url)
        assert run_folders(tmp_path) == []

        assert ui.post("/swarm", host=target.url)["success"]
        process.wait_for("requests/s")
        seen = ui.get("/stats/requests")
        assert seen["user_count"] > 10  # 20 a second that think for a second or more
        assert seen["state"] == "running"
        process.wait_for("Report:")
        finished = ui.get("/stats/requests")
        truth = target.truth()["totals"]
        summary = read_summary(run_folders(tmp_path)[0])
        rows = [row for row in summary["requests"] if row["phase"] == "all"]
        aggregated = next(row for row in finished["stats"] if row["name"] == "Aggregated")
        assert sum(row["count"] for row in rows) == aggregated["num_requests"] == truth["received"]
        check_same_percentiles(rows, finished["stats"])
        assert summary["phases"][0]["arrivals"]["started"] == 80

        assert ui.post("/swarm", host=target.url)["success"]
        wait_for_users(ui, process)
        ui.post("/stop")
        wait_for_report(tmp_path, 2, process)
        second = read_summary(run_folders(tmp_path)[1])
        assert (second["verdict"], second["end_reason"]) == ("incomplete", "stopped")
        assert any("was stopped before its plan had ended" in reason for reason in second["reasons"])

        process.send(signal.SIGINT)
        assert process.wait(20) == 4  # the last run's


def check_same_percentiles(rows: list[dict[str, Any]], stats: list[dict[str, Any]]) -> None:
    """Locust's median and ours are those of the same histogram; the two rules differ by one rank at most."""
    for row in rows:
        theirs = next(
            item for item in stats if (item["method"], item["name"]) == (row["method"], row["name"])
        )
        assert theirs["max_response_time"] == pytest.approx(row["service_time_ms"]["max"], abs=0.6)
        if row["count"] >= 50:
            assert theirs["median_response_time"] == pytest.approx(row["service_time_ms"]["p50"], rel=0.1)


def wait_until_served(ui: WebUi, process: Any) -> None:
    """Return once the UI answers; its log line comes a little earlier."""
    for _ in range(100):
        try:
            ui.get("/stats/requests")
            return
        except OSError:
            assert process.process.poll() is None, process.output
            process._reader.join(0.1)
    pytest.fail(process.output)


def wait_for_users(ui: WebUi, process: Any) -> None:
    for _ in range(100):
        if ui.get("/stats/requests")["user_count"] > 5:
            return
        process._reader.join(0.1)
    pytest.fail(process.output)


def wait_for_report(folder: Path, number: int, process: Any) -> None:
    for _ in range(200):
        folders = run_folders(folder)
        if len(folders) == number and (folders[-1] / "report.html").exists():
            return
        process._reader.join(0.1)
    pytest.fail(process.output)
