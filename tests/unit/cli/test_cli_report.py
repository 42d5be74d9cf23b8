import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from perfload import store
from perfload.analysis.summary import summarise
from perfload.child import child_environment
from perfload.cli.main import main
from perfload.histogram import Histogram
from perfload.model import ArrivalWindow, EndReason, Manifest, NodeRecord, PhaseSpan, Window
from perfload.store import RunWriter

NODE = NodeRecord("local", 0, True, 1)
MANIFEST = Manifest(
    run_id="20260101-000000-load_test-5f3a",
    started_at_s=1_767_225_600.0,
    host="http://localhost:8000",
    scenarios=("GetModels",),
    shape="LoadTest",
    phases=(PhaseSpan("Load", 0.0, 2.0, "arrivals", 1.0, 1.0, 2),),
    thresholds=("p95 < 1s", "error_rate <= 1%"),
)


def record(
    folder: Path,
    *,
    latency_us: int = 1_000,
    reason: EndReason = "finished",
    lags_us: tuple[int, ...] = (100, 100),
) -> Path:
    """Write the record of a run of two seconds, and return its folder."""
    writer = RunWriter(folder, replace(MANIFEST, phases=(replace(MANIFEST.phases[0], planned=len(lags_us)),)))
    latency = Histogram([latency_us] * 2)
    writer.append(
        [
            ArrivalWindow("run", "local", 0, "Load", Histogram(lags_us)),
            Window("run", "local", 1, "Load", "GET", "/a", latency, latency, Histogram()),
        ]
    )
    writer.close(reason, ended_at_s=MANIFEST.started_at_s + 2, nodes=[NODE])
    return folder


@pytest.mark.parametrize(
    ("options", "code", "verdict"),
    [
        ({}, 0, "✓ PASSED"),
        ({"latency_us": 1_500_000}, 3, "✗ FAILED"),
        ({"lags_us": (90_000,) * 100}, 4, "! INVALID"),
        ({"reason": "running"}, 4, "… INCOMPLETE"),
        ({"reason": "interrupted"}, 130, "… INCOMPLETE"),
    ],
)
def test_the_verdict_is_printed_written_and_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, object], code: int, verdict: str
) -> None:
    folder = record(tmp_path / "run", **options)  # type: ignore[arg-type]
    assert main(["report", str(folder)]) == code
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"{verdict}  {MANIFEST.run_id}"
    assert lines[-1] == f"Report: {folder / 'report.html'}"
    assert err == ""
    summary = json.loads((folder / store.SUMMARY).read_text())
    assert summary == summarise(store.load(folder))
    assert summary["verdict"] == verdict.split()[1].lower()
    page = (folder / store.REPORT).read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert MANIFEST.run_id in page
    assert sorted(os.listdir(folder)) == sorted(
        [store.MANIFEST, store.WINDOWS, store.READINGS, store.LATENCY_LOG, store.SUMMARY, store.REPORT]
    )


def test_json_prints_the_summary_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = record(tmp_path / "run")
    assert main(["report", "--json", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert out == (folder / store.SUMMARY).read_text()
    assert json.loads(out)["verdict"] == "passed"
    assert err == ""


def test_a_record_can_be_judged_again_with_the_same_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = record(tmp_path / "run")
    outputs = []
    for _ in range(2):
        main(["report", str(folder)])
        outputs.append((capsys.readouterr().out, (folder / store.SUMMARY).read_bytes()))
    assert outputs[0] == outputs[1]


def test_the_record_of_a_killed_run_gets_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunWriter(tmp_path / "run", MANIFEST)
    assert main(["report", str(tmp_path / "run")]) == 4
    assert capsys.readouterr().out.startswith("… INCOMPLETE")
    assert (tmp_path / "run" / store.REPORT).stat().st_size > 1_000


def test_a_folder_that_is_no_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert capsys.readouterr() == (
        "",
        f"perfload: {tmp_path} is no run record: it has no run.json\n"
        "  name a folder that a run wrote, such as reports/<run-id>\n",
    )
    assert os.listdir(tmp_path) == []


def test_a_report_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = record(tmp_path / "run")
    (folder / f"{store.REPORT}.partial").mkdir()  # the same for every user, whom file modes might not stop
    assert main(["report", str(folder)]) == 2
    assert capsys.readouterr() == (
        "",
        f"perfload: the report cannot be written to {folder}: Is a directory\n"
        "  free space or fix permissions\n",
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_the_verdict_stands_when_the_reader_has_left(
    tmp_path: Path, unbuffered: str, option: list[str]
) -> None:
    folder = record(tmp_path / "run", latency_us=1_500_000)
    reader, writer = os.pipe()
    os.close(reader)
    child = subprocess.run(
        [sys.executable, "-P", "-m", "perfload.cli.main", "report", str(folder), *option],
        env=child_environment({"PYTHONUNBUFFERED": unbuffered}),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(writer)
    assert (child.returncode, child.stderr) == (3, "")
