#!/usr/bin/env python3
"""Say whether a container is well: exit code 0 when one of the checks holds, else 1 and what is wrong.

health http://127.0.0.1:8000/health    it answers with status 200
health listening:5557                  it accepts connections on this port
health connected:5557                  it has a connection to this port of another container
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT_S = 4
ESTABLISHED, LISTEN = 0x01, 0x0A
"""States of a socket in /proc/net/tcp."""
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def problem(check: str, tables: Iterable[Path] = TABLES) -> str:
    """Return why `check` does not hold, or ""; raises `ValueError` for something that is no check."""
    kind, _, rest = check.partition(":")
    if kind == "http":
        return _unanswered(check)
    if kind == "listening":
        found = any(state == LISTEN and local == int(rest) for local, _, state in _sockets(tables))
        return "" if found else f"nothing listens on port {rest}"
    if kind == "connected":
        found = any(state == ESTABLISHED and remote == int(rest) for _, remote, state in _sockets(tables))
        return "" if found else f"no connection to port {rest}"
    raise ValueError(f"unknown check {check!r}; write http://..., listening:PORT or connected:PORT")


def _unanswered(url: str) -> str:
    import http.client  # takes as long as all the rest, and most checks do without

    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {error}"
    finally:
        connection.close()
    return "" if status == 200 else f"{url}: status {status}"


def _sockets(tables: Iterable[Path]) -> Iterator[tuple[int, int, int]]:
    """Yield the local port, the remote port and the state of every TCP socket of this container."""
    for table in tables:
        if not table.exists():  # a kernel without IPv6
            continue
        for line in table.read_text("ascii").splitlines()[1:]:
            _, local, remote, state, *_ = line.split()
            yield int(local.rpartition(":")[2], 16), int(remote.rpartition(":")[2], 16), int(state, 16)


def main(checks: list[str]) -> str | int:
    """Return the exit status of the process: 0, or the text that it ends with."""
    problems = []
    for check in checks:
        problems.append(problem(check))
        if not problems[-1]:
            return 0
    return "; ".join(problems) or "name at least one check"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
