"""A real Redis on a free loopback port, that a test can kill, stop and start again."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

ENOUGH_S = 10.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class RedisServer:
    """Start it with `start`; `options` are those of redis.conf: `"--maxmemory", "3mb"`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.socket = folder / "redis.sock"
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> redis.Redis:
        never = Retry(NoBackoff(), 0)
        return redis.Redis(
            host="127.0.0.1", port=self.port, retry=never, **{"decode_responses": True, **options}
        )

    def start(self) -> None:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]
        command += ["--dir", str(self._folder), "--unixsocket", str(self.socket)]
        command += ["--enable-debug-command", "yes", "--daemonize", "no", *self._options]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        deadline_s = time.monotonic() + ENOUGH_S
        with self.client() as client:
            while True:
                try:
                    client.ping()
                except redis.AuthenticationError:
                    return  # it answers, but not to us
                except redis.RedisError:
                    pass
                else:
                    return
                assert self._process.poll() is None, (self._folder / "redis.log").read_text()
                assert time.monotonic() < deadline_s, "Redis does not answer"
                time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """Run a server with its data in `folder`; its name is short, since that of a socket has to be."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on PATH: the Redis monitor is not tested against a real one")
    server = RedisServer(folder, *options)
    try:
        server.start()
        yield server
    finally:
        server.kill()
