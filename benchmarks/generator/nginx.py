"""The target of most benchmarks: one nginx worker on its own core, with its own configuration and files."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from benchmarks.generator.cases import Case
from benchmarks.generator.child import Child, Failed, cores

MISSING = "nginx is missing: make bench-setup"

SMALL_BYTES = 300
"""Body of `/get`."""
TOKEN_BYTES = 200
LOGIN_BYTES = TOKEN_BYTES + len('{"token": ""}')
"""Body of `/login`."""

CONFIG = """
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections {files}; multi_accept on; }}
http {{
    # 499: whoever asked has gone, as tools do at the end.
    map $status $is_refusal {{ ~^(200|499)$ 0; default 1; }}
    log_format refusal '$status $request';
    access_log {folder}/refusals.log refusal if=$is_refusal;
    keepalive_requests 100000000;
    keepalive_timeout 1h; send_timeout 1h; client_header_timeout 1h; client_body_timeout 1h;
    tcp_nodelay on; sendfile on; server_tokens off; reset_timedout_connection off;
    open_file_cache max=100; open_file_cache_valid 1h;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    default_type text/plain;
    root {folder}/files;
    server {{
        listen 127.0.0.1:{plain} backlog=4096;
        listen 127.0.0.1:{tls} ssl backlog=4096;
        ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem;
        ssl_session_cache shared:benchmark:4m;
        location = /get {{
            add_header Cache-Control "no-store"; add_header X-Request-Id "f3b1c2d4"; return 200 "{small}";
        }}
        location = /post {{ default_type application/json; return 200 '{{"id": 1, "status": "created"}}'; }}
        location = /login {{ default_type application/json; return 200 '{{"token": "{token}"}}'; }}
        location = /large {{ }}
        location = /chunked {{ ssi on; ssi_types text/plain; sendfile off; output_buffers 4 1k; }}
        location = /gzip {{ gzip_static on; }}
    }}
    server {{
        listen 127.0.0.1:{status};
        location = /status {{ stub_status; }}
    }}
}}
"""

_STATUS = re.compile(rb"Active connections: (\d+) \n.*\n \d+ (\d+) (\d+) ")


class Nginx:
    """A running nginx, in `folder`; it counts requests and connections itself."""

    name = "nginx"

    def __init__(self, folder: Path) -> None:
        program = find()
        if program is None:
            raise Failed(MISSING)
        self._plain, self._tls, self._status = _free_ports(3)
        _write_files(folder, self._plain, self._tls, self._status)
        argv = [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]
        self.child = Child(self.name, argv, core=cores()[0], folder=folder)
        self._asked = 0
        self._refusals = folder / "refusals.log"
        self._socket: socket.socket | None = None
        self.child.wait_for(self._connect, "listening")

    def __enter__(self) -> Nginx:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()
        self.child.kill()

    def base_url(self, case: Case) -> str:
        """Return scheme, host and port for this kind of request."""
        return f"https://127.0.0.1:{self._tls}" if case.tls else f"http://127.0.0.1:{self._plain}"

    def requests(self) -> int:
        """Return how many requests it has answered, without those of this method."""
        return self._ask()[2] - self._asked

    def connections(self) -> int:
        """Return how many connections are open, without that of this object."""
        return self._ask()[0] - 1

    def settled_connections(self) -> int:
        """Return how many connections are open when none comes or goes: those of killed tools may linger."""
        count = self.connections()
        while True:
            time.sleep(0.1)
            before, count = count, self.connections()
            if count == before:
                return count

    def refusals(self) -> list[str]:
        """Return a line for each request that was not answered with 200: the status, and what was asked."""
        return self._refusals.read_text("utf-8", "replace").splitlines()

    def _connect(self) -> bool:
        try:
            self._socket = socket.create_connection(("127.0.0.1", self._status), timeout=30)
        except ConnectionRefusedError:
            return False
        return True

    def _ask(self) -> tuple[int, int, int]:
        assert self._socket is not None
        self._socket.sendall(b"GET /status HTTP/1.1\r\nHost: status\r\n\r\n")
        self._asked += 1
        answer = b""
        while not (found := _STATUS.search(answer)):
            piece = self._socket.recv(4096)
            if not piece:
                raise self.child.failed("closed its status connection")
            answer += piece
        return int(found[1]), int(found[2]), int(found[3])


def find() -> str | None:
    """Return the path of the program; Debian puts it where only the administrator's shell looks."""
    return shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))


def version() -> str:
    """Return the version, "" without an nginx."""
    program = find()
    if program is None:
        return ""
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=False).stderr
    return said.strip().rpartition("/")[2]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def _write_files(folder: Path, plain: int, tls: int, status: int) -> None:
    files = folder / "files"
    files.mkdir(parents=True)
    # The worker of a root's nginx would be nobody, and not allowed into this folder.
    user = "user root;" if os.geteuid() == 0 else ""
    config = CONFIG.format(
        folder=folder,
        user=user,
        plain=plain,
        tls=tls,
        status=status,
        files=16384,
        small="x" * SMALL_BYTES,
        token="t" * TOKEN_BYTES,
    )
    (folder / "nginx.conf").write_text(config)
    (files / "large").write_bytes(bytes(range(32, 127)) * 1100)
    (files / "large").write_bytes((files / "large").read_bytes()[:100_000])
    (files / "chunked").write_text("a line of text that goes out in chunks\n" * 105)
    text = "".join(
        f"{number} a line of text that is worth compressing {number * 7919}\n" for number in range(150)
    )
    (files / "gzip").write_text(text)
    (files / "gzip.gz").write_bytes(gzip.compress(text.encode()))
    _make_certificate(folder)


def _make_certificate(folder: Path) -> None:
    if shutil.which("openssl") is None:
        raise Failed("openssl is missing: it makes the certificate of the target")
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "7",
    ]
    argv += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    argv += ["-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(argv, cwd=folder, capture_output=True, check=True)
