"""Run records on disk: one folder per run, written while the run goes on, readable ever after.

run.json         the manifest; written at the start and, complete, at the end
windows.jsonl    a window a line
latency.hlog     the same response times as an HdrHistogram interval log
readings.jsonl   a reading a line; the sampler and the generator both append
observations.jsonl  what monitors found that is no number, one a line; only there if there was something
summary.json     what `perfload.analysis` makes of it
report.html      what `perfload.report` makes of that
"""

from __future__ import annotations

import json
import os
import sys
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from perfload.codec import JsonObject, decode_manifest, decode_window, encode_manifest, encode_window
from perfload.errors import RecordError
from perfload.histogram import Histogram
from perfload.joining import join
from perfload.model import (
    AnyWindow,
    ArrivalWindow,
    EndReason,
    Manifest,
    MetricWindow,
    NodeEvent,
    NodeRecord,
    Reading,
    RunRecord,
    StageWindow,
    Window,
)
from perfload.observations import decode_observation
from perfload.readings import decode_reading, encode_reading
from perfload.recorder import merge

MANIFEST = "run.json"
WINDOWS = "windows.jsonl"
READINGS = "readings.jsonl"
OBSERVATIONS = "observations.jsonl"
LATENCY_LOG = "latency.hlog"
SUMMARY = "summary.json"
REPORT = "report.html"

MAX_DAMAGE_NOTES = 20

WindowT = TypeVar("WindowT", bound=AnyWindow)
ItemT = TypeVar("ItemT")


class RunWriter:
    """Writes one run record; every line is on its way to the disk when `append` returns.

    What a full disk refuses is kept and tried again with the next call, from the byte where it broke off.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Make `folder` and write its `run.json`; raises `RecordError` if that cannot be done."""
        self.folder = folder
        self.manifest = manifest
        try:
            folder.mkdir(parents=True)
            write_text(folder / MANIFEST, _dump(manifest))
            self._windows = _Appender(folder / WINDOWS)
            self._readings = _Appender(folder / READINGS)
            self._latencies = _Appender(folder / LATENCY_LOG)
        except OSError as error:
            raise _cannot_write(folder, error) from error
        self._latencies.put(_log_header(manifest.started_at_s))

    def append(self, windows: Iterable[AnyWindow], readings: Iterable[Reading] = ()) -> str:
        """Write what came in since the last call; return "" or, in words, why some of it has to wait."""
        for window in windows:
            encoded = encode_window(window)
            self._windows.put(json.dumps(encoded, separators=(",", ":")) + "\n")
            if isinstance(window, Window):
                self._latencies.put(_log_line(window, encoded))
        for reading in readings:
            self._readings.put(encode_reading(reading) + "\n")
        problems = [appender.flush() for appender in (self._windows, self._readings, self._latencies)]
        return next(filter(None, problems), "")

    def note(self, events: tuple[NodeEvent, ...]) -> str:
        """Write the manifest again with `events`; return "" or, in words, why that was not possible."""
        self.manifest = replace(self.manifest, events=events)
        try:
            write_text(self.folder / MANIFEST, _dump(self.manifest))
        except OSError as error:
            return f"{MANIFEST}: {error.strerror}"
        return ""

    def close(
        self, reason: EndReason, *, ended_at_s: float, nodes: Iterable[NodeRecord], note: str = ""
    ) -> Manifest:
        """Write the final manifest; raises `RecordError` if anything could not be written.

        A phase without a planned duration gets the time that the run lasted.
        """
        lasted_s = ended_at_s - self.manifest.started_at_s
        phases = (
            span if span.duration_s else replace(span, duration_s=max(0.001, lasted_s - span.start_s))
            for span in self.manifest.phases
        )
        manifest = replace(
            self.manifest,
            phases=tuple(phases),
            end_reason=reason,
            ended_at_s=ended_at_s,
            nodes=tuple(nodes),
            end_note=note,
        )
        problem = self.append(())
        try:
            write_text(self.folder / MANIFEST, _dump(manifest))
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        finally:
            for appender in (self._windows, self._readings, self._latencies):
                appender.close()
        if problem:
            raise RecordError(
                f"the record {self.folder} is incomplete: {problem}", hint="free space on that disk"
            )
        return manifest


class _Appender:
    """A file that only grows; what could not be written waits in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._pending = bytearray()

    def put(self, text: str) -> None:
        self._pending += text.encode("utf-8", "backslashreplace")

    def flush(self) -> str:
        try:
            while self._pending:
                del self._pending[: os.write(self._file, self._pending)]
        except OSError as error:
            return f"{self._path.name}: {error.strerror}"
        return ""

    def close(self) -> None:
        os.close(self._file)


def load(folder: Path, *, by_node: bool = False) -> RunRecord:
    """Return the record in `folder`, also that of a run that was killed.

    Windows are the sums over all load generators; with `by_node`, each has windows of its own, and the record
    of a large cluster takes as many times the memory. Those of arrivals always are by node.

    A line that cannot be read is left out and named in `damage`. Raises `RecordError` if this is no record.
    """
    manifest = _load_manifest(folder)
    damage: list[str] = []
    read = _read_lines(folder / WINDOWS, _window_line, damage)
    windows = list(read) if by_node else join(read)
    readings = list(_read_lines(folder / READINGS, _reading_line, damage))
    observations = (
        list(_read_lines(folder / OBSERVATIONS, decode_observation, damage))
        if (folder / OBSERVATIONS).exists()
        else []
    )
    if len(damage) > MAX_DAMAGE_NOTES:
        damage[MAX_DAMAGE_NOTES:] = [f"and {len(damage) - MAX_DAMAGE_NOTES} more"]
    return RunRecord(
        manifest=manifest,
        windows=_of_type(windows, Window),
        arrivals=_of_type(windows, ArrivalWindow),
        metrics=_of_type(windows, MetricWindow),
        readings=tuple(sorted(readings, key=lambda reading: reading.at_s)),
        damage=tuple(damage),
        stages=_of_type(windows, StageWindow),
        observations=tuple(sorted(observations, key=lambda observation: observation.at_s)),
    )


def _load_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        return decode_manifest(_parse(path.read_text("utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        raise RecordError(
            f"{folder} is no run record: it has no {MANIFEST}",
            hint="name a folder that a run wrote, such as reports/<run-id>",
        ) from None
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read: {error}", hint="restore the file, or run again") from error


def _window_line(line: str) -> AnyWindow:
    return decode_window(_parse(line))


def _reading_line(line: str) -> Reading:
    """Return a reading whose words are those of the others: they would take more memory than the values."""
    reading = decode_reading(line)
    return replace(
        reading,
        node=sys.intern(reading.node),
        source=sys.intern(reading.source),
        metric=sys.intern(reading.metric),
        unit=sys.intern(reading.unit),
    )


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _read_lines(path: Path, decode: Callable[[str], ItemT], damage: list[str]) -> Iterator[ItemT]:
    """Yield the decoded lines of `path`, none if it is missing; what cannot be read is added to `damage`."""
    try:
        with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield decode(line.removesuffix("\n"))
                except ValueError as error:
                    damage.append(f"{path.name}, line {number}: {error}")
    except FileNotFoundError:
        damage.append(f"{path.name} is missing")
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}") from error


def _of_type(windows: list[AnyWindow], kind: type[WindowT]) -> tuple[WindowT, ...]:
    return tuple(merge(window for window in windows if isinstance(window, kind)))


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step: a reader sees the old file or the new one, never half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, "utf-8")
    partial.replace(path)


def _dump(manifest: Manifest) -> str:
    return json.dumps(encode_manifest(manifest), indent=2) + "\n"


def _cannot_write(folder: Path, error: OSError) -> RecordError:
    return RecordError(
        f"the run record {folder} cannot be written: {error.strerror or error}",
        hint="choose another place with --reports-dir, or free space",
    )


def _log_header(started_at_s: float) -> str:
    return (
        "#[Histogram log format version 1.3]\n"
        f"#[StartTime: {started_at_s:.3f} (seconds since epoch), response times in microseconds]\n"
        f"#[BaseTime: {started_at_s:.3f} (seconds since epoch)]\n"
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
    )


def _log_line(window: Window, encoded: JsonObject) -> str:
    """Return the log line of one window: successes and failures together, Interval_Max in milliseconds."""
    if window.failed.count or not window.latency.count:
        everything = Histogram()
        everything.add(window.latency)
        everything.add(window.failed)
        text, greatest = everything.encode(), everything.max
    else:
        text, greatest = encoded["latency"][0], window.latency.max
    name = f"{window.phase}|{window.method} {window.name}"
    tag = urllib.parse.quote(name, safe="/|", errors="backslashreplace")
    return f"Tag={tag},{window.second:.3f},1.000,{greatest / 1000:.3f},{text}\n"
