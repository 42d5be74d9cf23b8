"""The load generators that are compared: where each is found, and the command that makes it send a load."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.generator.cases import JSON_BODY, Case

OWN_FOLDER = Path(__file__).resolve().parent.parent / ".tools"
VISITOR = Path(__file__).resolve().parent / "locustfiles" / "visitor.py"
ROOT = Path(__file__).resolve().parent.parent.parent
COMPILED_FOLDER = OWN_FOLDER / "compiled"
"""Holds a compiled copy of the package `perfload`: `benchmarks.generator.compiled` makes it."""

BODY = json.dumps(JSON_BODY)
FOREVER_S = 3600
"""For tools that are stopped by the benchmark."""


@dataclass(frozen=True)
class Load:
    """What a tool is to do: `users` at once, as fast as they can, or `pace_per_s` requests a second each."""

    base_url: str
    case: Case
    users: int
    folder: Path
    """Empty, and the tool's own; it runs there."""
    seconds: int = FOREVER_S
    pace_per_s: float = 0.0

    @property
    def url(self) -> str:
        """The whole URL."""
        return self.base_url + self.case.path

    @property
    def is_post(self) -> bool:
        """Whether a body is sent."""
        return self.case.method == "POST"

    def write(self, name: str, text: str) -> str:
        """Write a file of the tool's, and return its path."""
        path = self.folder / name
        path.write_text(text, "utf-8")
        return str(path)


@dataclass(frozen=True)
class Command:
    """How a tool is started."""

    argv: list[str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tool:
    """A load generator."""

    name: str
    command: Callable[[Load], Command]
    program: str = ""
    """What must be found for it; "" for what comes with perfload's own environment."""
    connects: Callable[[int], int] = lambda users: users
    """How many connections it has when it is under way with so many users."""

    def is_there(self) -> bool:
        """Return whether it can be started."""
        return not self.program or find(self.program) is not None


def find(program: str) -> str | None:
    """Return where a program is: in benchmarks/.tools first."""
    own = [OWN_FOLDER / "bin", OWN_FOLDER / "node_modules" / ".bin"]
    return shutil.which(program, path=os.pathsep.join([*map(str, own), os.environ.get("PATH", "")]))


def path_of(program: str) -> str:
    """Return where a program is; raises FileNotFoundError."""
    found = find(program)
    if found is None:
        raise FileNotFoundError(f"{program} is missing: make bench-setup")
    return found


_ONE_CORE = {"GOMAXPROCS": "1", "TOKIO_WORKER_THREADS": "1", "UV_THREADPOOL_SIZE": "1"}


def one_core() -> dict[str, str]:
    """Return the environment in which Go, Rust and Node make do with one core."""
    return dict(_ONE_CORE)


def wrk(load: Load) -> Command:
    """Return wrk's command; it prints its own percentiles at the end."""
    argv = [path_of("wrk"), "-t1", f"-c{load.users}", f"-d{load.seconds}s", "--timeout", "1000s", "--latency"]
    if load.is_post:
        lines = ['wrk.method = "POST"', f"wrk.body = [==[{BODY}]==]"]
        lines.append('wrk.headers["Content-Type"] = "application/json"')
        argv += ["-s", load.write("post.lua", "\n".join(lines))]
    if load.case.accepts_gzip:
        argv += ["-H", "Accept-Encoding: gzip"]
    return Command([*argv, load.url])


def hey(load: Load) -> Command:
    """Return hey's command: its own summary at the end."""
    return _hey(load, [])


def hey_csv(load: Load) -> Command:
    """Return hey's command for a list of all its response times, of at most a million."""
    return _hey(load, ["-o", "csv"])


def _hey(load: Load, options: list[str]) -> Command:
    argv = [
        path_of("hey"),
        "-z",
        f"{load.seconds}s",
        "-c",
        str(load.users),
        "-t",
        "0",
        "-cpus",
        "1",
        *options,
    ]
    if load.is_post:
        argv += ["-m", "POST", "-T", "application/json", "-D", load.write("body.json", BODY)]
    return Command([*argv, load.url], _ONE_CORE)


def oha(load: Load) -> Command:
    """Return oha's command; it prints JSON at the end."""
    argv = [path_of("oha"), "-z", f"{load.seconds}s", "-c", str(load.users), "--no-tui", "--insecure"]
    argv += ["--output-format", "json", "-t", "1000s"]
    if load.is_post:
        argv += ["-m", "POST", "-T", "application/json", "-D", load.write("body.json", BODY)]
    if load.case.accepts_gzip:
        argv += ["-H", "Accept-Encoding: gzip"]
    return Command([*argv, load.url], _ONE_CORE)


K6_SCRIPT = """
import http from 'k6/http';
const parameters = {{ headers: {headers} }};
export default function () {{ {call}; }}
"""


def k6(load: Load) -> Command:
    """Return k6's command; it writes `summary.json` at the end."""
    if load.is_post:
        call = f"http.post('{load.url}', JSON.stringify({BODY}), parameters)"
    else:
        call = f"http.get('{load.url}', parameters)"
    headers = {"Content-Type": "application/json"} if load.is_post else {}
    headers |= {"Accept-Encoding": "gzip"} if load.case.accepts_gzip else {}
    script = load.write("script.js", K6_SCRIPT.format(headers=json.dumps(headers), call=call))
    argv = [path_of("k6"), "run", "--quiet", "--no-usage-report", "--insecure-skip-tls-verify"]
    argv += ["--summary-trend-stats", "p(50),p(95),p(99),p(99.9),max", "--summary-export", "summary.json"]
    argv += ["--vus", str(load.users), "--duration", f"{load.seconds}s", script]
    return Command(argv, _ONE_CORE)


def vegeta(load: Load) -> Command:
    """Return vegeta's command: a worker for each user, as fast as it can; results go to `results.bin`."""
    target = f"{load.case.method} {load.url}\n"
    if load.case.accepts_gzip:
        target += "Accept-Encoding: gzip\n"
    if load.is_post:
        target += "Content-Type: application/json\n@" + load.write("body.json", BODY) + "\n"
    workers = str(load.users)
    argv = [path_of("vegeta"), "attack", "-rate=0", "-workers", workers, "-max-workers", workers, "-insecure"]
    argv += ["-connections", workers, "-timeout=1000s", f"-duration={load.seconds}s", "-http2=false"]
    argv += ["-targets", load.write("targets.txt", target)]
    # Forever would fill the disk: about 300 bytes a request.
    argv += ["-output", os.devnull if load.seconds == FOREVER_S else "results.bin"]
    return Command(argv, _ONE_CORE)


def autocannon(load: Load) -> Command:
    """Return autocannon's command; it prints JSON at the end."""
    argv = [path_of("node"), path_of("autocannon"), "-c", str(load.users), "-d", str(load.seconds)]
    argv += ["-t", "1000", "--json", "--no-progress"]
    if load.is_post:
        argv += ["-m", "POST", "-H", "content-type=application/json", "-i", load.write("body.json", BODY)]
    if load.case.accepts_gzip:
        argv += ["-H", "accept-encoding=gzip"]
    return Command([*argv, load.url], _ONE_CORE)


def artillery_loop(load: Load, count: int = 1_000_000_000) -> Command:
    """Return the command of Artillery with virtual users that loop, each on its own connection."""
    # Those that loop already starve those that have yet to come: nobody begins before all are there.
    flow: list[dict[str, object]] = [{"think": max(1, load.users // 150)}]
    flow.append({"loop": [_artillery_step(load)], "count": count})
    return _artillery(load, [{"duration": 1, "arrivalCount": load.users}], flow)


def artillery_arrivals(load: Load) -> Command:
    """Return the command of Artillery with one virtual user a request: more arrivals than it can serve."""
    phase = {"duration": load.seconds, "arrivalRate": 10_000, "maxVusers": load.users}
    return _artillery(load, [phase], [_artillery_step(load)])


def _artillery_step(load: Load) -> dict[str, object]:
    if load.is_post:
        return {"post": {"url": load.case.path, "json": JSON_BODY}}
    return {"get": {"url": load.case.path, **({"gzip": True} if load.case.accepts_gzip else {})}}


def _artillery(load: Load, phases: list[dict[str, int]], flow: list[dict[str, object]]) -> Command:
    config = {"target": load.base_url, "phases": phases, "tls": {"rejectUnauthorized": False}}
    script = {"config": {**config, "http": {"timeout": 1000}}, "scenarios": [{"flow": flow}]}
    return artillery_script(load.write("script.json", json.dumps(script)))


def artillery_script(path: str) -> Command:
    """Return the command that runs a script, in one worker; its report goes to `report.json`."""
    argv = [path_of("node"), path_of("artillery"), "run", "--output", "report.json", path]
    return Command(argv, {**_ONE_CORE, "ARTILLERY_DISABLE_TELEMETRY": "true", "WORKERS": "1"})


def locust(client: str, *options: str, package: Path = ROOT) -> Callable[[Load], Command]:
    """Return the command of Locust with the users of `visitor.py` and this client of theirs.

    `package` is the folder in which `perfload` is found.
    """

    def command(load: Load) -> Command:
        env = {
            "BENCH_CLIENT": client,
            "BENCH_METHOD": load.case.method,
            "BENCH_PATH": load.case.path,
            "BENCH_JSON": BODY if load.is_post else "",
            "BENCH_PACE": str(load.pace_per_s or ""),
            "PYTHONPATH": os.pathsep.join(dict.fromkeys((str(package), str(ROOT)))),
        }
        return locust_command(
            [str(VISITOR)], load, [*options, "-u", str(load.users), "-r", str(load.users)], env
        )

    return command


def locust_command(files: list[str], load: Load, options: list[str], env: Mapping[str, str]) -> Command:
    """Return the command that runs these files as their user would run them."""
    argv = [sys.executable, "-m", "locust", "-f", ",".join(files), "--headless", "-H", load.base_url]
    argv += ["-t", f"{load.seconds}s", *options]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return Command(argv, {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore", **env})


_ALL = (
    Tool("wrk", wrk, "wrk"),
    Tool("hey", hey, "hey"),
    Tool("oha", oha, "oha"),
    Tool("k6", k6, "k6"),
    Tool("vegeta", vegeta, "vegeta"),
    Tool("autocannon", autocannon, "autocannon"),
    Tool("artillery loop", artillery_loop, "artillery"),
    Tool("artillery arrivals", artillery_arrivals, "artillery", connects=lambda users: users // 2),
    Tool("HttpUser", locust("HttpUser")),
    Tool("FastHttpUser", locust("FastHttpUser")),
    Tool("perfload", locust("perfload")),
    Tool("perfload, lean loop", locust("perfload-lean")),
    Tool("perfload, bare client", locust("perfload-bare")),
)
_COMPILED = (
    Tool("perfload, compiled", locust("perfload", package=COMPILED_FOLDER)),
    Tool("perfload, lean loop, compiled", locust("perfload-lean", package=COMPILED_FOLDER)),
)
TOOLS = {tool.name: tool for tool in (*_ALL, *_COMPILED)}
COMPARED = [tool.name for tool in _ALL]
"""Those that are compared when nothing else is asked for."""
