"""Dockerfile, .dockerignore and the two scripts of the image."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

import perfload
from tests.unit.deploy.files import ROOT, text

DOCKERFILE = text("Dockerfile").replace("\\\n", " ")
FINAL = DOCKERFILE.rpartition("\nFROM ")[2]
INSTRUCTIONS = [line.split(maxsplit=1) for line in FINAL.splitlines() if re.match(r"[A-Z]+ ", line)]
ENTRYPOINT = ROOT / "deploy" / "entrypoint"
HEALTH = ROOT / "deploy" / "health.py"


def instructions(name):
    return [rest for instruction, rest in INSTRUCTIONS if instruction == name]


def test_the_base_is_pinned():
    assert re.search(r"^ARG PYTHON=python:3\.\d+\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON}", "${PYTHON}"]


def test_it_does_not_run_as_root():
    assert instructions("USER") == ["10001:10001"]
    assert INSTRUCTIONS.index(["USER", "10001:10001"]) > max(
        place for place, (name, _) in enumerate(INSTRUCTIONS) if name in {"RUN", "COPY"}
    )


def test_nothing_is_compiled_or_downloaded_for_the_final_image():
    assert not re.search(r"\b(apt|gcc|pip|curl|wget)\b", " ".join(instructions("RUN")))


def test_the_label_has_the_version():
    assert f'org.opencontainers.image.version="{perfload.__version__}"' in FINAL


def test_it_has_a_health_check():
    (check,) = instructions("HEALTHCHECK")
    assert "health" in re.search(r'CMD \["(\w+)"', check)[1]


def copied():
    """Return what is copied from the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
    return sorted({name for line in lines for name in line.split()[:-1]})


def test_the_builder_gets_what_is_copied_and_nothing_else():
    first, *rest = [line for line in text(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert first == "*"
    assert sorted(line.removeprefix("!") for line in rest if line.startswith("!")) == copied()
    assert all((ROOT / name).exists() for name in copied())


def test_no_record_and_no_secret_is_copied():
    assert not [name for name in copied() if name.startswith((".", "reports"))]


@pytest.mark.parametrize("path", [ENTRYPOINT, HEALTH], ids=lambda path: path.name)
def test_scripts_can_be_executed(path):
    assert os.access(path, os.X_OK)
    assert path.read_text("utf-8").startswith("#!")


# --- entrypoint


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (["--worker", "--master-host", "a b"], ["locust", "--worker", "--master-host", "a b"]),
        (["locust", "--headless"], ["locust", "--headless"]),
        (["perfload", "report", "reports/x"], ["perfload", "report", "reports/x"]),
    ],
)
def test_options_alone_are_locusts(given, becomes, tmp_path):
    for program in ("locust", "perfload"):
        (tmp_path / program).write_text('#!/bin/sh\nprintf "%s\\n" "${0##*/}" "$@"\n')
        (tmp_path / program).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([ENTRYPOINT, *given], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == becomes


# --- health

SOCKETS = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0201D60A:15B5 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1
   1: 0302D60A:E0F2 0202D60A:1F40 01 00000000:00000000 00:00000000 00000000     0        0 102 1
   2: 0301D60A:C350 0201D60A:1F99 06 00000000:00000000 00:00000000 00000000     0        0 103 1
"""
"""5557 listens; a connection to 8000 is established, one to 8089 is over."""


@pytest.fixture(scope="module")
def health():
    spec = importlib.util.spec_from_file_location("health", HEALTH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tables(tmp_path):
    (tmp_path / "tcp").write_text(SOCKETS)
    return [tmp_path / "tcp", tmp_path / "tcp6"]


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        ("listening:5557", ""),
        ("listening:8000", "nothing listens on port 8000"),
        ("connected:8000", ""),
        ("connected:5557", "no connection to port 5557"),
        ("connected:8089", "no connection to port 8089"),
    ],
)
def test_sockets_are_told_apart_by_port_and_state(check, problem, health, tables):
    assert health.problem(check, tables) == problem


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_url_has_to_answer_with_200(url, health):
    assert health.problem(f"{url}/health") == ""
    assert health.problem(url) == f"{url}: status 503"
    assert "Connection refused" in health.problem("http://127.0.0.1:9/")


def test_one_check_that_holds_is_enough(url, health):
    assert health.main([url, f"{url}/health"]) == 0
    assert health.main([url, "http://127.0.0.1:9/"]).startswith(f"{url}: status 503; http://127.0.0.1:9/: ")
    assert health.main([]) == "name at least one check"


def test_what_is_no_check_is_no_answer(health):
    with pytest.raises(ValueError, match=r"unknown check 'https://x/'"):
        health.problem("https://x/")


def test_as_a_program_it_ends_with_1_and_says_why():
    done = subprocess.run([HEALTH, "http://127.0.0.1:9/"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
