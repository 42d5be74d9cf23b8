"""A redirect must not lead the load to a host that nobody allowed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.integration.locust_runs import run_locust

pytestmark = pytest.mark.integration

SCENARIO = """
from locust import constant, task
from perfload.load import HttpUser

class User(HttpUser):
    wait_time = constant(1)

    @task
    def go(self):
        self.client.get("/away")
        self.client.get("/home")
"""


class Redirecting(BaseHTTPRequestHandler):
    """Sends /away elsewhere and /home to /there on the same host."""

    def do_GET(self) -> None:
        places = {"/away": "http://example.com/", "/home": "/there"}
        self.send_response(302 if self.path in places else 200)
        self.send_header("Location", places.get(self.path, ""))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_redirects_are_followed_on_allowed_hosts_only(tmp_path: Path, url: str) -> None:
    (tmp_path / "user.py").write_text(SCENARIO)
    summary = run_locust("-f", tmp_path / "user.py", "-H", url, "-u", "1", "-t", "2s", cwd=tmp_path).summary
    rows = {row["name"]: row for row in summary["requests"] if row["phase"] == "all"}
    assert rows["/away"]["failures"] == rows["/away"]["count"] > 0
    assert rows["/home"]["failures"] == 0 < rows["/home"]["count"]
    (failure,) = summary["failures"]
    assert "load may not go to example.com" in failure["reason"]
