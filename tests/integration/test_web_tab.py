"""The tabs of Locust's web UI in a real browser, with a run going on."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from perfload.model import Reading
from perfload.readings import encode_reading
from perfload.target.process import TargetProcess
from tests.integration.locust_runs import AI_MODELS, free_port, locust, read_summary, run_folders
from tests.integration.test_report_browser import CHROMIUM, FLAGS

pytestmark = [
    pytest.mark.integration,
    pytest.mark.monitors,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH: the web UI is not opened in a browser"),
]

SHAPE = """
from perfload.load import Phase, PhasedShape

class Shape(PhasedShape):
    phases = (Phase(name="Load", duration="30s", arrival_rate=10),)
"""

HOSTILE = "<img src=x onerror=document.documentElement.dataset.hacked=1>"


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def open_page(url: str, profile: Path) -> str:
    """Return the page as it is after its scripts ran."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def cells(page: str) -> list[list[str]]:
    """Return the texts of the table on `page`, row by row."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.DOTALL)
    return [
        [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)]
        for row in rows
    ]


def wait_for_reading(folder: Path, metric: str) -> Path:
    for _ in range(300):
        for found in folder.glob("reports/*/readings.jsonl"):
            if f'"metric":"{metric}","unit":"%","value"' in found.read_text("utf-8"):
                return found
        time.sleep(0.1)
    pytest.fail(f"nothing read {metric}")


def test_a_run_is_seen_in_the_browser_and_by_prometheus_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "shape.py").write_text(SHAPE)
    port, metrics_port = free_port(), free_port()
    ui = f"http://127.0.0.1:{port}"
    rules = ("--threshold", "error_rate <= 1%", "--threshold", "p95 < 1ms")
    arguments = ("-f", f"{AI_MODELS},shape.py", "--web-port", port, "--prometheus-port", metrics_port, *rules)
    with (
        TargetProcess() as target,
        locust(*arguments, "--host", target.url, "--autostart", cwd=tmp_path) as process,
    ):
        readings = wait_for_reading(tmp_path, "cpu_percent")
        down = Reading(time.time(), "db-1:27017", "mongodb", "*", "", None, f"refused {HOSTILE}")
        with readings.open("a") as file:
            file.write(encode_reading(down) + "\n")
        process.wait_for("requests/s  p95")
        check_run(cells(open_page(f"{ui}/?tab=perfload-run", tmp_path / "run")))
        page = open_page(f"{ui}/?tab=perfload-monitors", tmp_path / "monitors")
        check_monitors(cells(page))
        assert "data-hacked" not in page
        process.wait_for("Report:")
        summary = read_summary(run_folders(tmp_path)[0])
        check_end(json.loads(get(f"{ui}/stats/requests")), summary)
        check_metrics(get(f"http://127.0.0.1:{metrics_port}/metrics"), summary)


def check_run(rows: list[list[str]]) -> None:
    assert rows[0] == ["What", "Now", "Asked for", "State"]
    by_what = {row[0]: row[1:] for row in rows[1:] if row[0] != "Threshold"}
    assert re.fullmatch(r"00:\d\d of 00:30", by_what["Run"][0])
    assert by_what["Run"][2] == "phase Load"
    assert re.fullmatch(r"\d+ due by now, 300 in all", by_what["Arrivals started"][1])
    assert float(by_what["Arrivals started"][2].removesuffix(" per second")) > 0
    thresholds = {row[2]: row[3] for row in rows if row[0] == "Threshold"}
    assert thresholds == {"error_rate &lt;= 1%": "✓ holds", "p95 &lt; 1ms": "✗ fails"}


def check_monitors(rows: list[list[str]]) -> None:
    assert rows[0] == ["Where", "Monitor", "Reading", "Value", "Read"]
    (cpu,) = (row for row in rows if row[1:3] == ["host", "cpu_percent"])
    assert re.fullmatch(r"[\d.]+ %", cpu[3])
    (down,) = (row for row in rows if row[1] == "mongodb")
    shown = HOSTILE.replace("<", "&lt;").replace(">", "&gt;")
    assert down == [
        "db\N{NON-BREAKING HYPHEN}1:27017",
        "mongodb",
        "everything",
        f"unavailable: refused {shown}",
        "",
    ]


def check_end(stats: dict[str, Any], summary: dict[str, Any]) -> None:
    rows = {row["what"]: row for row in stats["extended_stats"][0]["data"]}
    assert rows["Run"]["state"] == "over: its report has the results"
    assert rows["Requests"]["now"] == f"{sum(row['count'] for row in of_all(summary)):,}"
    assert rows["Arrivals started"]["now"] == "300"


def check_metrics(text: str, summary: dict[str, Any]) -> None:
    found = re.findall(r"^perfload_requests_total\{(.*)\} (.*)$", text, re.MULTILINE)
    counts = {
        tuple(re.findall(r'(?:method|name|outcome)="([^"]*)"', labels)): float(count)
        for labels, count in found
    }
    for row in of_all(summary):
        request = (row["method"], row["name"])
        assert counts[*request, "ok"] + counts[*request, "failed"] == row["count"]
        assert counts[*request, "failed"] == row["failures"]
    assert 'perfload_arrivals_started_total{phase="Load"} 300.0' in text
    assert 'perfload_arrivals_planned_total{phase="Load"} 300.0' in text
    assert "perfload_run_active 0.0" in text


def of_all(summary: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in summary["requests"] if row["phase"] == "all"]
