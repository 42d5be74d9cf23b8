"""Run records on disk: what is written, what is read back, and what a bad disk or a crash leaves of it."""

import contextlib
import errno
import json
import os
import random
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import example, given
from hypothesis import strategies as st

from perfload import store
from perfload.codec import encode_window
from perfload.errors import ExitCode, RecordError
from perfload.histogram import Histogram
from perfload.joining import ALL_NODES
from perfload.model import (
    SCHEMA_VERSION,
    AnyWindow,
    ArrivalWindow,
    Manifest,
    MetricWindow,
    NodeEvent,
    NodeRecord,
    PhaseSpan,
    Reading,
    RunRecord,
    StageWindow,
    Window,
)
from perfload.store import RunWriter, load, write_text

MANIFEST = Manifest(
    run_id="run-1",
    started_at_s=1_700_000_000.25,
    host="http://localhost:8000",
    scenarios=("GetModels", "UserLogin"),
    shape="LoadTest",
    phases=(
        PhaseSpan("Warm up", 0.0, 2.0, "arrivals", 5.0, 5.0, 10, warmup=True),
        PhaseSpan("Peak, 100/s", 2.0, 3.0, "arrivals", 100.0, 100.0, 300),
    ),
    thresholds=("p95 < 5s",),
    options={"seed": 3, "tags": ["a"]},
    environment={"python": "3.11"},
)


def requests(
    second: int, *, name: str = "/a", node: str = "local", count: int = 3, failed: int = 1
) -> Window:
    return Window(
        "run-1",
        node,
        second,
        "Peak, 100/s",
        "GET",
        name,
        latency=Histogram(range(1_000, 1_000 + 7_777 * count, 7_777)),
        service=Histogram(range(900, 900 + 7_777 * count, 7_777)),
        failed=Histogram([250] * failed),
        received_bytes=10 * count,
        due=((second - 1, count, failed),),
        reasons=(("status 500, expected 200", failed),) if failed else (),
    )


def arrivals(second: int, *, node: str = "local") -> ArrivalWindow:
    return ArrivalWindow("run-1", node, second, "Peak, 100/s", Histogram([120, 9_000]), dropped=2)


def metric(second: int, *, node: str = "local") -> MetricWindow:
    return MetricWindow("run-1", node, second, "Peak, 100/s", "tokens", "1", Histogram([12_500]))


def stages(second: int, *, node: str = "local") -> StageWindow:
    times = (("connect", Histogram([400])), ("wait", Histogram([900, 1_100])))
    return StageWindow("run-1", node, second, "Peak, 100/s", "GET", "/a", times)


def reading(second: int, value: float = 12.0) -> Reading:
    return Reading(MANIFEST.started_at_s + second, "local", "generator", "users", "users", value)


def written(folder: Path, windows: list[AnyWindow], readings: tuple[Reading, ...] = ()) -> RunRecord:
    writer = RunWriter(folder, MANIFEST)
    assert writer.append(windows, readings) == ""
    writer.close("finished", ended_at_s=MANIFEST.started_at_s + 5, nodes=())
    return load(folder)


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "reports" / "run-1", MANIFEST)
    unreadable = Reading(1_700_000_001.0, "db", "mongodb", "ops", "/s", None, "unavailable: refused")
    windows = [requests(2), requests(3, name="/b"), arrivals(2), metric(2), stages(0)]
    assert writer.append(windows[:2], [reading(2)]) == ""
    assert writer.append(windows[2:], [unreadable]) == ""
    node = NodeRecord("local", 0, complete=True, last_second=3)
    final = writer.close("aborted", ended_at_s=1_700_000_005.5, nodes=[node], note="p95 < 5s: 6 s")
    assert final == replace(
        MANIFEST,
        ended_at_s=1_700_000_005.5,
        end_reason="aborted",
        end_note="p95 < 5s: 6 s",
        nodes=(node,),
    )
    assert load(writer.folder) == RunRecord(
        manifest=final,
        windows=(requests(2), requests(3, name="/b")),
        arrivals=(arrivals(2),),
        metrics=(metric(2),),
        readings=(unreadable, reading(2)),  # in order of time
        stages=(stages(0),),
    )


def test_a_line_is_on_the_disk_when_append_returns(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", MANIFEST)
    writer.append([requests(2)], [reading(2)])
    record = load(tmp_path / "run")
    assert (record.windows, record.readings) == ((requests(2),), (reading(2),))


def test_a_record_that_was_never_closed_is_running(tmp_path: Path) -> None:
    RunWriter(tmp_path / "run", MANIFEST).append([requests(2)])
    manifest = load(tmp_path / "run").manifest
    assert manifest == MANIFEST
    assert (manifest.end_reason, manifest.ended_at_s) == ("running", None)


LOST = NodeEvent(3.25, "worker-1", "lost", "not heard of for 2 s")
RETURNED = NodeEvent(7.5, "worker-1", "returned")


def test_what_happened_to_workers_is_on_the_disk_while_the_run_goes_on(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", MANIFEST)
    assert writer.note((LOST,)) == ""
    assert load(tmp_path / "run").manifest == replace(MANIFEST, events=(LOST,))
    assert writer.note((LOST, RETURNED)) == ""
    assert writer.manifest.events == (LOST, RETURNED)
    assert load(tmp_path / "run").manifest.events == (LOST, RETURNED)
    node = NodeRecord("worker-1", 1, complete=True, last_second=9, joined_s=0.5, lost=((3, "Warm up", 4),))
    final = writer.close("finished", ended_at_s=MANIFEST.started_at_s + 5, nodes=[node])
    assert (final.events, final.nodes) == ((LOST, RETURNED), (node,))
    assert load(tmp_path / "run").manifest == final


def test_what_cannot_be_noted_is_said_and_noted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RunWriter(tmp_path / "run", MANIFEST)

    def refuse(_path: Path, _text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(store, "write_text", refuse)
        assert writer.note((LOST,)) == "run.json: No space left on device"
    assert load(tmp_path / "run").manifest == MANIFEST
    final = writer.close("finished", ended_at_s=MANIFEST.started_at_s + 5, nodes=[])
    assert final.events == (LOST,)


def test_an_open_ended_phase_gets_the_time_that_the_run_lasted(tmp_path: Path) -> None:
    whole = PhaseSpan("Closed load", 0.0, 0.0, "users", 0.0, 0.0, 0)
    writer = RunWriter(tmp_path / "run", replace(MANIFEST, phases=(whole,)))
    writer.close("finished", ended_at_s=MANIFEST.started_at_s + 12.5, nodes=())
    assert load(tmp_path / "run").manifest.phases == (replace(whole, duration_s=12.5),)


FROM_TWO_NODES = [
    requests(4),
    requests(2),
    requests(2, node="worker-1", count=5, failed=0),
    requests(4),
    arrivals(3),
    arrivals(3, node="worker-1"),
    arrivals(3),
    metric(3, node="worker-1"),
    metric(3),
    metric(3),
]


def test_windows_of_all_nodes_are_added_each_counted_once_in_order_of_time(tmp_path: Path) -> None:
    record = written(tmp_path / "run", FROM_TWO_NODES)
    both = Window(
        "run-1",
        ALL_NODES,
        2,
        "Peak, 100/s",
        "GET",
        "/a",
        latency=Histogram([1_000, 8_777, 16_554, 1_000, 8_777, 16_554, 24_331, 32_108]),
        service=Histogram([900, 8_677, 16_454, 900, 8_677, 16_454, 24_231, 32_008]),
        failed=Histogram([250]),
        received_bytes=80,
        due=((1, 8, 1),),
        reasons=(("status 500, expected 200", 1),),
    )
    assert record.windows == (both, requests(4))
    assert record.arrivals == (arrivals(3), arrivals(3, node="worker-1"))
    assert record.metrics == (replace(metric(3), node=ALL_NODES, values=Histogram([12_500, 12_500])),)
    assert record.damage == ()


def test_windows_by_node_count_once_and_are_in_order_of_time(tmp_path: Path) -> None:
    written(tmp_path / "run", FROM_TWO_NODES)
    record = load(tmp_path / "run", by_node=True)
    other = requests(2, node="worker-1", count=5, failed=0)
    assert record.windows == (requests(2), other, requests(4))
    assert record.arrivals == (arrivals(3), arrivals(3, node="worker-1"))
    assert record.metrics == (metric(3), metric(3, node="worker-1"))
    assert record.damage == ()


def test_stages_of_all_nodes_are_added_each_counted_once_in_order_of_time(tmp_path: Path) -> None:
    windows = [stages(20), stages(0), stages(0, node="worker-1"), stages(20), stages(0)]
    record = written(tmp_path / "run", windows)
    times = (("connect", Histogram([400, 400])), ("wait", Histogram([900, 1_100, 900, 1_100])))
    assert record.stages == (replace(stages(0), node=ALL_NODES, stages=times), stages(20))
    assert (record.windows, record.damage) == ((), ())
    by_node = load(tmp_path / "run", by_node=True)
    assert by_node.stages == (stages(0), stages(0, node="worker-1"), stages(20))


def test_readings_share_their_words(tmp_path: Path) -> None:
    first, second = written(tmp_path / "run", [], (reading(2), reading(3))).readings
    assert (first, second) == (reading(2), reading(3))
    for word in ("node", "source", "metric", "unit"):
        assert getattr(first, word) is getattr(second, word)


def test_stages_stay_out_of_the_latency_log(tmp_path: Path) -> None:
    written(tmp_path / "with", [requests(2), stages(0)])
    written(tmp_path / "without", [requests(2)])
    assert windows_and_log(tmp_path / "with")[1] == windows_and_log(tmp_path / "without")[1]


def test_a_record_from_before_there_were_stages_has_none(tmp_path: Path) -> None:
    record = written(tmp_path / "run", [requests(2), arrivals(2), metric(2)])
    assert (record.stages, record.damage) == ((), ())
    assert record.windows == (requests(2),)


NAMES = st.text(max_size=8)


@example(name="half \ud800", phase="\udfff", reason="\ud83d")
@example(name="a,b\nTag=c", phase="#[", reason="\u2028")
@given(name=NAMES, phase=NAMES, reason=NAMES)
def test_any_text_that_a_target_sends_can_be_written_and_read(
    tmp_path_factory: pytest.TempPathFactory, name: str, phase: str, reason: str
) -> None:
    window = replace(requests(2), name=name, phase=phase, reasons=((reason, 1),))
    record = written(tmp_path_factory.mktemp("text") / "run", [window])
    assert (record.windows, record.damage) == ((window,), ())


# --- the HdrHistogram log


def test_the_latency_log_gives_the_reference_reader_the_counts_of_the_windows(tmp_path: Path) -> None:
    windows = [
        replace(requests(second, name=name, count=count, failed=failed), phase=phase)
        for second, name, count, failed, phase in [
            (2, "/a", 40, 2, "Warm up"),
            (3, "/a", 17, 0, "Peak, 100/s"),
            (3, "/models/{id}?x=1,2 é", 5, 5, "Peak, 100/s"),
            (4, "/a", 1, 30, "Peak, 100/s"),
            (9, "/slow", 0, 1, "Peak, 100/s"),
        ]
    ]
    folder = tmp_path / "run"
    record = written(folder, [*windows, arrivals(3), metric(3)])

    expected: Counter[str] = Counter()
    whole = Histogram()
    for window in record.windows:
        expected[f"{window.phase}|{window.method} {window.name}"] += window.count
        whole.add(window.latency)
        whole.add(window.failed)

    reference = HdrHistogram(1, 3_600_000_000, 3)
    total = HdrHistogram(1, 3_600_000_000, 3)
    reader = HistogramLogReader(str(folder / store.LATENCY_LOG), reference)
    found: Counter[str] = Counter()
    starts_s = []
    while interval := reader.get_next_interval_histogram():
        found[urllib.parse.unquote(interval.get_tag())] += interval.get_total_count()
        starts_s.append(interval.get_start_time_stamp() / 1000 - MANIFEST.started_at_s)
        total.add(interval)
    reader.close()
    assert (
        found
        == expected
        == {
            "Warm up|GET /a": 42,
            "Peak, 100/s|GET /a": 48,
            "Peak, 100/s|GET /models/{id}?x=1,2 é": 10,
            "Peak, 100/s|GET /slow": 1,
        }
    )
    assert total.get_total_count() == whole.count == 101
    for percent in (50, 90, 99):
        assert total.get_value_at_percentile(percent) == pytest.approx(whole.percentile(percent), rel=1e-3)
    assert starts_s == pytest.approx([2, 3, 3, 4, 9], abs=1e-3)


# --- what a crash leaves


@pytest.mark.parametrize("kept_bytes", [1, 40, 200])
def test_a_record_cut_off_in_the_middle_of_a_line_names_file_and_line(
    tmp_path: Path, kept_bytes: int
) -> None:
    folder = tmp_path / "run"
    written(folder, [requests(2), requests(3), requests(4)], (reading(2),))
    path = folder / store.WINDOWS
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:kept_bytes])
    record = load(folder)
    assert record.windows == (requests(2), requests(3))
    assert record.readings == (reading(2),)
    (note,) = record.damage
    assert note.startswith("windows.jsonl, line 3: ")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b"null",
        b'{"kind":["requests"]}',
        b"[" * 100_000,
        json.dumps(encode_window(requests(9)) | {"due": None}).encode(),
        json.dumps(encode_window(requests(9)) | {"latency": ["AAAA", 1, 1, 1]}).encode(),
    ],
)
def test_a_line_of_rubbish_is_left_out_and_named(tmp_path: Path, line: bytes) -> None:
    folder = tmp_path / "run"
    written(folder, [requests(2), requests(3)])
    for name in (store.WINDOWS, store.READINGS):
        (folder / name).write_bytes(line + b"\n" + (folder / name).read_bytes())
    record = load(folder)
    assert record.windows == (requests(2), requests(3))
    assert [note.partition(":")[0] for note in record.damage] == [
        "windows.jsonl, line 1",
        "readings.jsonl, line 1",
    ]


def test_the_list_of_damage_is_bounded(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    written(folder, [])
    (folder / store.READINGS).write_text("x\n" * 1_000)
    damage = load(folder).damage
    assert len(damage) == store.MAX_DAMAGE_NOTES + 1
    assert damage[-2].startswith("readings.jsonl, line 20: ")
    assert damage[-1] == "and 980 more"


def test_a_file_that_is_gone_is_damage_too(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    written(folder, [requests(2)])
    (folder / store.READINGS).unlink()
    record = load(folder)
    assert record.damage == ("readings.jsonl is missing",)
    assert record.windows == (requests(2),)


# --- a disk that is full


class SmallDisk:
    """`os.write` on a disk with `free_bytes` left; a write over that is cut short, then refused."""

    def __init__(self, free_bytes: int) -> None:
        self.free_bytes = free_bytes
        self._write = os.write

    def write(self, descriptor: int, data: bytes) -> int:
        if data and not self.free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = self._write(descriptor, bytes(data[: self.free_bytes]))
        self.free_bytes -= count
        return count


def windows_and_log(folder: Path) -> tuple[bytes, bytes]:
    return (folder / store.WINDOWS).read_bytes(), (folder / store.LATENCY_LOG).read_bytes()


@pytest.mark.parametrize("seed", range(5))
def test_a_full_disk_loses_nothing_and_tears_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    batches = [([requests(second), arrivals(second)], [reading(second)]) for second in range(2, 12)]
    undisturbed = RunWriter(tmp_path / "undisturbed", MANIFEST)
    for windows, readings in batches:
        undisturbed.append(windows, readings)

    writer = RunWriter(tmp_path / "run", MANIFEST)
    disk = SmallDisk(0)
    monkeypatch.setattr(store.os, "write", disk.write)
    source = random.Random(seed)
    problems = []
    for windows, readings in batches:
        disk.free_bytes = source.choice([0, 1, 100, 700, 2_000])
        problems.append(writer.append(windows, readings))
        text = (tmp_path / "run" / store.WINDOWS).read_text()
        for line in text.split("\n")[:-1]:
            assert (
                json.loads(line)["run"] == "run-1"
            )  # whatever is there so far is whole but for its last line
    assert any(problem.endswith(f": {os.strerror(errno.ENOSPC)}") for problem in problems)

    disk.free_bytes = 1_000_000
    assert writer.append([]) == ""
    assert windows_and_log(tmp_path / "run") == windows_and_log(tmp_path / "undisturbed")
    record = load(tmp_path / "run")
    assert record.damage == ()
    assert record.windows == tuple(requests(second) for second in range(2, 12))
    assert record.readings == tuple(reading(second) for second in range(2, 12))


def test_a_disk_that_stays_full_is_an_error_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RunWriter(tmp_path / "run", MANIFEST)
    monkeypatch.setattr(store.os, "write", SmallDisk(0).write)
    assert writer.append([requests(2)]) == f"windows.jsonl: {os.strerror(errno.ENOSPC)}"
    with pytest.raises(RecordError, match=r"is incomplete: windows\.jsonl: ") as caught:
        writer.close("finished", ended_at_s=MANIFEST.started_at_s + 5, nodes=())
    assert caught.value.hint == "free space on that disk"
    assert load(tmp_path / "run").manifest.end_reason == "finished"  # the manifest itself could be written


def open_files(folder: Path) -> set[str]:
    """Return the names of the files below `folder` that this process holds open."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the descriptor of this listing
            path = Path(os.readlink(link))
            if path.is_relative_to(folder):
                found.add(path.name)
    return found


def test_closing_frees_the_files(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", MANIFEST)
    assert open_files(tmp_path) == {store.WINDOWS, store.READINGS, store.LATENCY_LOG}
    writer.close("finished", ended_at_s=MANIFEST.started_at_s + 5, nodes=())
    assert open_files(tmp_path) == set()


# --- what is no record


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "run", [])
    path = tmp_path / "run" / store.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": SCHEMA_VERSION + 1}))
    with pytest.raises(RecordError) as caught:
        load(tmp_path / "run")
    assert caught.value.message == (
        f"{path} cannot be read: it has schema {SCHEMA_VERSION + 1}; "
        f"this perfload reads up to {SCHEMA_VERSION}"
    )


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.touch()])
def test_what_is_no_run_record_says_so_and_what_to_name(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = tmp_path / "elsewhere"
    make(folder)
    with pytest.raises(RecordError) as caught:
        load(folder)
    assert caught.value.message == f"{folder} is no run record: it has no run.json"
    assert caught.value.hint == "name a folder that a run wrote, such as reports/<run-id>"
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "\ud800", "[" * 100_000])
def test_a_manifest_of_rubbish_is_refused(tmp_path: Path, text: str) -> None:
    written(tmp_path / "run", [])
    path = tmp_path / "run" / store.MANIFEST
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RecordError) as caught:
        load(tmp_path / "run")
    assert caught.value.message.startswith(f"{path} cannot be read: ")
    assert caught.value.hint == "restore the file, or run again"


@pytest.mark.parametrize("name", [store.MANIFEST, store.WINDOWS, store.READINGS])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    written(tmp_path / "run", [])
    path = tmp_path / "run" / name
    path.unlink()
    path.mkdir()  # the same for every user, whom file modes might not stop
    with pytest.raises(RecordError, match=os.strerror(errno.EISDIR)) as caught:
        load(tmp_path / "run")
    assert caught.value.message.startswith(f"{path} cannot be read: ")


def test_a_record_is_never_written_over_another(tmp_path: Path) -> None:
    written(tmp_path / "run", [requests(2)])
    with pytest.raises(RecordError) as caught:
        RunWriter(tmp_path / "run", MANIFEST)
    reason = os.strerror(errno.EEXIST)
    assert caught.value.message == f"the run record {tmp_path / 'run'} cannot be written: {reason}"
    assert caught.value.hint == "choose another place with --reports-dir, or free space"
    assert load(tmp_path / "run").windows == (requests(2),)


# --- write_text


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_text(path, "old\n")
    reader = path.open(encoding="utf-8")
    write_text(path, "new é\n")
    with reader:
        assert reader.read() == "old\n"  # whoever had it open keeps all of the old one
    assert path.read_text("utf-8") == "new é\n"
    assert os.listdir(tmp_path) == ["summary.json"]


def test_the_old_file_stays_when_the_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    write_text(path, "old\n")
    (tmp_path / "run.json.partial").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(path, "new\n")
    assert path.read_text() == "old\n"
