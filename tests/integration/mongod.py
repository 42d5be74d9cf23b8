"""A real mongod for tests: on a free port of loopback, with a temporary folder, stopped by its pid.

    with running_mongod(tmp_path) as server:                       # standalone, everybody may do everything
    with running_mongod(tmp_path, replica_set=True) as server:     # one member, already primary
    with running_mongod(tmp_path, auth=True) as server:            # server.url is the administrator's
        url = server.add_user("reader", [{"role": "read", "db": "app"}])

`scripts/install-test-servers` installs it; one on the PATH is preferred. Without any, `needs_mongod` skips.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote_plus

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = ROOT / "tests" / ".servers" / "mongodb" / "mongod"

START_WITHIN_S = 60.0
ADMINISTRATOR = "administrator"
PASSWORD = "s3cret/of:the@tests"
"""Holds what has to be escaped in an address, and is easy to find where it must not be."""

REPLICA_SET = "rs0"


def mongod_path() -> str | None:
    """Return the mongod to start, if there is one."""
    return shutil.which("mongod") or (str(INSTALLED) if os.access(INSTALLED, os.X_OK) else None)


needs_mongod = pytest.mark.skipif(
    mongod_path() is None, reason="there is no mongod: run scripts/install-test-servers"
)


class MongodProcess:
    """A mongod that `running_mongod` made."""

    def __init__(self, folder: Path, *, replica_set: bool, auth: bool, arguments: Sequence[str]) -> None:
        self.port = _free_port()
        self.auth = auth
        self.replica_set = replica_set
        self.log = folder / "mongod.log"
        self._data = folder / "data"
        self._data.mkdir(parents=True, exist_ok=True)
        self._arguments = list(arguments)
        if replica_set:
            self._arguments += ["--replSet", REPLICA_SET, "--oplogSize", "64"]
        if auth:
            self._arguments.append("--auth")
        if auth and replica_set:
            key = folder / "key"
            key.write_text("dGVzdHMgb25seQ==\n")
            key.chmod(0o600)
            self._arguments += ["--keyFile", str(key)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Of whoever may do everything."""
        return self.url_of(ADMINISTRATOR) if self.auth else f"mongodb://{self.address}/{self._options}"

    @property
    def _options(self) -> str:
        return f"?replicaSet={REPLICA_SET}" if self.replica_set else ""

    def url_of(self, user: str, password: str = PASSWORD) -> str:
        joint = "&" if self._options else "?"
        login = f"{quote_plus(user)}:{quote_plus(password)}"
        return f"mongodb://{login}@{self.address}/{self._options}{joint}authSource=admin"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self, url: str = "", **options: Any) -> MongoClient[dict[str, Any]]:
        """Return a client of the administrator, or of `url`; to be closed by the caller."""
        return MongoClient(url or self.url, **{"serverSelectionTimeoutMS": 10_000, **options})

    def add_user(self, name: str, roles: Sequence[str | dict[str, str]]) -> str:
        """Make a user with just these roles; return its address. One that exists gets them instead."""
        with self.client() as client:
            known = client.admin.command("usersInfo", name)["users"]
            client.admin.command(
                "updateUser" if known else "createUser", name, pwd=PASSWORD, roles=list(roles)
            )
        return self.url_of(name)

    def start(self) -> Self:
        """Start it, also again on the same data and port, and wait until it answers."""
        program = mongod_path()
        assert program is not None
        command = [program, "--dbpath", str(self._data), "--port", str(self.port), "--bind_ip", "127.0.0.1"]
        command += ["--wiredTigerCacheSizeGB", "0.25", "--nounixsocket"]
        command += ["--setParameter", "diagnosticDataCollectionEnabled=false", *self._arguments]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_the_parent,  # noqa: PLW1509  # nothing but a system call
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline_s = time.monotonic() + START_WITHIN_S
        with MongoClient(
            f"mongodb://{self.address}", directConnection=True, serverSelectionTimeoutMS=500
        ) as client:
            while True:
                assert self._process.poll() is None, f"mongod ended: {self.log.read_text()[-2000:]}"
                assert time.monotonic() < deadline_s, f"mongod is not ready: {self.log.read_text()[-2000:]}"
                with contextlib.suppress(PyMongoError):
                    hello = client.admin.command("hello")
                    if hello["isWritablePrimary"]:
                        return
                    if self.replica_set and not hello.get("setName"):
                        members = [{"_id": 0, "host": self.address}]
                        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
                time.sleep(0.05)

    def make_administrator(self) -> None:
        """Use the exception that a server without users makes for loopback."""
        with MongoClient(f"mongodb://{self.address}", directConnection=True) as client:
            client.admin.command("createUser", ADMINISTRATOR, pwd=PASSWORD, roles=["root"])

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def hang(self) -> None:
        """Stop it from answering; the kernel still accepts connections for it."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it, whatever state it is in. The data are temporary, so there is nothing to save."""
        if self._process is not None and self._process.poll() is None:
            self.kill()


@contextlib.contextmanager
def running_mongod(
    folder: Path, *, replica_set: bool = False, auth: bool = False, arguments: Sequence[str] = ()
) -> Iterator[MongodProcess]:
    """Run a mongod with its data in `folder`/mongod; see the top of this file."""
    home = folder / "mongod"
    home.mkdir(parents=True, exist_ok=True)
    server = MongodProcess(home, replica_set=replica_set, auth=auth, arguments=arguments)
    try:
        server.start()
        if auth:
            server.make_administrator()
        yield server
    finally:
        server.stop()


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_the_parent() -> None:
    """Have the kernel kill this process when whoever started it is killed: then nobody else would."""
    if _LIBC is not None:
        parent_death_signal = 1
        _LIBC.prctl(parent_death_signal, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
