"""Locust's own `--otel` beside perfload: every request is exported, and counted by both alike."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from perfload.target.process import TargetProcess
from tests.integration.locust_runs import AI_MODELS, requests_of, run_locust

pytest.importorskip("opentelemetry.sdk", reason="no OpenTelemetry: pip install 'locust[otel]'")

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

pytestmark = pytest.mark.integration

SHAPE = """
from perfload.load import Phase, PhasedShape

class Shape(PhasedShape):
    phases = (Phase(name="Load", duration="6s", arrival_rate=10),)
"""


class Receiver:
    """What a collector of OpenTelemetry is for an exporter."""

    def __init__(self) -> None:
        self.url = ""
        self.durations: dict[tuple[str, str], tuple[int, float]] = {}
        """(request, error) -> its newest count and sum in seconds."""
        self.paths: set[str] = set()

    def take(self, path: str, body: bytes) -> None:
        self.paths.add(path)
        if path != "/v1/metrics":
            return
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == "locust.client.duration":
                        self._take_durations(metric.histogram.data_points)

    def _take_durations(self, points: object) -> None:
        for point in points:  # type: ignore[attr-defined]
            labels = {attribute.key: attribute.value.string_value for attribute in point.attributes}
            self.durations[labels["name"], labels.get("error.type", "")] = (point.count, point.sum)


@contextmanager
def receiver() -> Iterator[Receiver]:
    taken = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_packed = self.headers.get("Content-Encoding") == "gzip"
            taken.take(self.path, gzip.decompress(body) if is_packed else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    taken.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_opentelemetry_sees_every_request(tmp_path: Path) -> None:
    (tmp_path / "shape.py").write_text(SHAPE)
    with receiver() as taken, TargetProcess("--error-rate", "10%") as target:
        environment = {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": taken.url,
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        }
        arguments = ("-f", f"{AI_MODELS},shape.py", "--host", target.url, "--otel")
        finished = run_locust(*arguments, cwd=tmp_path, environment=environment)
        truth = target.truth()["totals"]["received"]
    assert "OpenTelemetry enabled" in finished.output
    assert {"/v1/metrics", "/v1/logs"} <= taken.paths
    rows = requests_of(finished.summary)
    assert sum(row["count"] for row in rows.values()) == truth
    for row in rows.values():
        points = {error: point for (name, error), point in taken.durations.items() if name == row["name"]}
        assert points[""][0] == row["count"] - row["failures"]
        assert sum(count for error, (count, _) in points.items() if error) == row["failures"]
        mean_ms = 1000 * points[""][1] / points[""][0]
        assert mean_ms == pytest.approx(row["service_time_ms"]["mean"], rel=0.01)
