"""Times of tokens as three clients report them, against the emulator's own: TTFT and ICL.

    python benchmarks/ai_truth.py [--levels 1,50,200,500] [--clients perfload,fasthttp,sdk] [--seconds 15]

Streams of tokens 20 ms apart, as many at a time as the level says. The truth is when `perfload target` wrote
each token, minus when the scenario asked: both read the clock of one machine, and the two of each answer are
joined by the id of its request. So the emulator's delays are part of the truth, and only the client's are
errors. What a client reports is taken from its own report. A row ends with what makes it doubtful: the
emulator's lateness against its own plan, the client's CPU, and what perfload says of its run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perfload.child import child_environment
from perfload.histogram import Histogram
from perfload.target.process import TargetProcess

GAP = "20ms"
TTFT = "200ms"
TOKENS = 100
KEY = "sk-test-benchmark"

RAMP_S, SETTLE_S = 5, 3
"""Before what is measured: users and connections are made, and are in nobody's way later."""

_FRAME = """
import itertools
import json
import os
import time
from locust import events
from perfload.load import Phase, PhasedShape

NUMBER = itertools.count()
ASKED = {}
USERS, RAMP_S, SETTLE_S, SECONDS = json.loads(os.environ["STEADY"])

class Steady(PhasedShape):
    phases = (
        Phase(name="Ramp", duration=RAMP_S, users=1, ramp_to_users=USERS, warmup=True),
        Phase(name="Settle", duration=SETTLE_S, users=USERS, warmup=True),
        Phase(name="Measured", duration=SECONDS, users=USERS),
    )

@events.test_start.add_listener
def begin(**_):
    ASKED["begin"] = time.perf_counter_ns()

@events.quitting.add_listener
def write_down(**_):
    with open(os.environ["ASKED_FILE"], "w") as file:
        json.dump(ASKED, file)
"""

PERFLOAD = (
    _FRAME
    + """
import random
from locust import constant, task
from perfload.load import OpenAIUser

class Asker(OpenAIUser):
    wait_time = constant(0)
    model = "any"
    default_key = "sk-test-benchmark"
    max_tokens = 100_000

    def on_start(self):
        self.client.get("/health")  # makes the connection
        time.sleep(random.uniform(0, 2.2))  # or their answers stay in step

    @task
    def ask(self):
        name, began_ns = f"r{next(NUMBER)}", time.perf_counter_ns()
        if self.chat("Hello", headers={"X-Request-Id": name}).ok:
            ASKED[name] = began_ns
"""
)

FAST_HTTP = (
    _FRAME
    + """
import random
from locust import FastHttpUser, constant, task
from perfload.load import record_values

class Asker(FastHttpUser):
    wait_time = constant(0)

    def on_start(self):
        self.client.get("/health")
        time.sleep(random.uniform(0, 2.2))

    @task
    def ask(self):
        name, began_ns, times = f"r{next(NUMBER)}", time.perf_counter_ns(), []
        body = {"model": "any", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"Authorization": "Bearer sk-test-benchmark", "X-Request-Id": name}
        for line in self.client.iter_lines("/v1/chat/completions", "POST", json=body, headers=headers):
            if line.startswith("data: {"):
                choices = json.loads(line[6:])["choices"]
                if choices and choices[0]["delta"].get("content"):
                    times.append(time.perf_counter_ns())
        if times:
            ASKED[name] = began_ns
            record_values("ttft", [(times[0] - began_ns) / 1e6], "ms")
            record_values("icl", [(b - a) / 1e6 for a, b in zip(times, times[1:])], "ms")
"""
)

LATE_MS = 5.0
"""An emulator whose chunks are later than this is no truth for anybody's 99th percentile."""


@dataclass
class Row:
    """What one client reports at one level, and when it asked."""

    reported: dict[str, Any]
    note: str = ""
    cpu_percent: float = 0.0
    asked_ns: dict[str, int] = field(default_factory=dict)
    """By the request's id."""

    def show(self, client: str, level: int, truth: Truth) -> str:
        """Return the line of the table."""
        cells = [f"{client:9} {level:4}"]
        for metric, times in (("ttft", truth.ttft), ("icl", truth.icl)):
            for name, percent in (("p50", 50), ("p99", 99)):
                true, said = times.percentile(percent) / 1000, self.reported.get(metric, {}).get(name)
                cells.append(
                    f"{true:8.1f} {said - true:+8.2f}" if said is not None else f"{true:8.1f}        -"
                )
        cells.append(f"{truth.ttft.count:7,} {truth.late_ms:7.1f} {self.cpu_percent:5.0f}")
        doubts = [self.note] if self.note else []
        if truth.late_ms > LATE_MS:
            doubts.append("emulator late")
        return "  ".join([*cells, "; ".join(doubts)])


class Truth:
    """What the emulator wrote to the answers that a client counted, in microseconds."""

    def __init__(
        self, streams: Iterable[dict[str, Any]], asked_ns: Mapping[str, int], late_ms: float
    ) -> None:
        self.ttft, self.icl = Histogram(), Histogram()
        self.late_ms = late_ms
        for stream in streams:
            began_ns, wrote_ns = asked_ns.get(stream["request_id"]), stream["chunk_ns"]
            if began_ns is None or not is_measured(wrote_ns[-1], asked_ns):
                continue
            self.ttft.record((wrote_ns[0] - began_ns) // 1000)
            for before, after in itertools.pairwise(wrote_ns):
                self.icl.record((after - before) // 1000)


def is_measured(last_ns: int, asked_ns: Mapping[str, int]) -> bool:
    """Return whether an answer whose last token came at `last_ns` is behind the warm-up."""
    return last_ns >= asked_ns["begin"] + (RAMP_S + SETTLE_S) * 10**9


def run_locust(scenario: str, url: str, users: int, seconds: int) -> Row:
    """Run Locust with perfload's recording, and `scenario`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "asker.py").write_text(scenario)
        (folder / "perfload.toml").write_text("[thresholds]\nrules = []\n[monitors]\nhost = false\n")
        command = [sys.executable, "-m", "locust", "-f", str(folder / "asker.py"), "--headless", "-H", url]
        noted = folder / "asked.json"
        steady = json.dumps([users, RAMP_S, SETTLE_S, seconds])
        done = subprocess.run(
            command,
            cwd=folder,
            env=child_environment({"ASKED_FILE": str(noted), "STEADY": steady}),
            capture_output=True,
            text=True,
            check=False,
        )
        found = list((folder / "reports").glob("*/summary.json"))
        if not found:
            return Row({}, f"no run: {done.stderr.strip().splitlines()[-1:]}")
        asked_ns = json.loads(noted.read_text())
        summary = json.loads(found[0].read_text())
        cpu = _peak_cpu(found[0].parent / "readings.jsonl")
    reported = {row["metric"]: row["spread"] for row in summary["metrics"]}
    failed = [f"{row['count']} x {row['reason']}" for row in summary["failures"]]
    note = "" if summary["verdict"] in {"passed", "failed"} else f"{summary['verdict']}"
    note = "; ".join(filter(None, [note, *failed]))
    return Row(reported, note, cpu, asked_ns)


def _peak_cpu(path: Path) -> float:
    """Return the median of the generator's CPU over the busiest half of its seconds, in percent of a core."""
    lines = path.read_text().splitlines() if path.exists() else []
    readings = [json.loads(line) for line in lines]
    cpu = sorted(
        r["value"] for r in readings if r.get("metric") == "cpu_percent" and r.get("value") is not None
    )
    return float(cpu[len(cpu) * 3 // 4]) if cpu else 0.0


class SdkThreads:
    """The official client, one thread for each stream."""

    def __init__(self, url: str) -> None:
        from openai import OpenAI

        self._client = OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=60)
        self.ttft, self.icl = Histogram(), Histogram()
        self._lock = threading.Lock()
        self._number = itertools.count()
        self._asked_ns: dict[str, int] = {}
        self.failed = 0

    def run(self, users: int, seconds: int) -> Row:
        """Ask until the time is over."""
        self._asked_ns["begin"] = time.perf_counter_ns()
        until_s = time.monotonic() + RAMP_S + SETTLE_S + seconds
        cpu_s, began_s = time.process_time(), time.monotonic()
        threads = [
            threading.Thread(target=self._loop, args=(until_s, random.uniform(0, RAMP_S)))
            for _ in range(users)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        cpu = 100 * (time.process_time() - cpu_s) / (time.monotonic() - began_s)
        reported = {"ttft": _spread(self.ttft), "icl": _spread(self.icl)}
        return Row(reported, f"{self.failed} failed" if self.failed else "", cpu, self._asked_ns)

    def _loop(self, until_s: float, wait_s: float) -> None:
        time.sleep(wait_s)
        while time.monotonic() < until_s:
            name, began_ns, times = f"r{next(self._number)}", time.perf_counter_ns(), []
            try:
                stream = self._client.chat.completions.create(
                    model="any",
                    messages=[{"role": "user", "content": "Hello"}],
                    stream=True,
                    extra_headers={"X-Request-Id": name},
                )
                for chunk in stream:
                    if chunk.choices and chunk.choices[0].delta.content:
                        times.append(time.perf_counter_ns())
            except Exception:
                with self._lock:
                    self.failed += 1
                continue
            with self._lock:
                self._asked_ns[name] = began_ns
                if not is_measured(times[-1], self._asked_ns):
                    continue
                self.ttft.record((times[0] - began_ns) // 1000)
                for before, after in itertools.pairwise(times):
                    self.icl.record((after - before) // 1000)


def _spread(histogram: Histogram) -> dict[str, float]:
    p50, p99 = histogram.percentiles((50, 99))
    return {"p50": p50 / 1000, "p99": p99 / 1000}


def run_sdk(url: str, users: int, seconds: int) -> Row:
    """Run the official client in a process of its own: threads that Locust has not patched."""
    command = [sys.executable, __file__, "--sdk", url, str(users), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return Row({}, f"no run: {done.stderr.strip().splitlines()[-1:]}")
    return Row(**json.loads(done.stdout))


def measure(client: str, users: int, seconds: int) -> str:
    """Return the line of one client at one level."""
    emulator = ("--ai-ttft", TTFT, "--ai-gap", GAP, "--ai-tokens", str(TOKENS))
    with TargetProcess(*emulator, "--ai-slots", "2000", "--ai-raw", "20000") as target:
        if client == "sdk":
            row = run_sdk(target.url, users, seconds)
        else:
            row = run_locust(PERFLOAD if client == "perfload" else FAST_HTTP, target.url, users, seconds)
        late_ms = target.truth()["ai"]["openai"]["late"]["p99_ms"]
        with urllib.request.urlopen(f"{target.url}/_truth/ai") as response:
            truth = Truth(json.load(response)["streams"], row.asked_ns, late_ms)
    return row.show(client, users, truth)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--levels", default="1,50,200,500", help="streams at a time (default: %(default)s)")
    parser.add_argument("--clients", default="perfload,fasthttp,sdk", help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=15, help="of each row (default: %(default)s)")
    parser.add_argument("--sdk", nargs=3, metavar=("URL", "USERS", "SECONDS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sdk:
        url, users, seconds = arguments.sdk
        row = SdkThreads(url).run(int(users), int(seconds))
        print(json.dumps(vars(row)))
        return
    print(f"true times and reported - true, in ms: first of {TOKENS} tokens after {TTFT}, one every {GAP}")
    heads = "  ".join(
        f"{f'{metric} {name}':>8} {'error':>8}" for metric in ("TTFT", "ICL") for name in ("p50", "p99")
    )
    print(f"{'client':9} {'at':>4}  {heads}  {'answers':>7} {'late':>7} {'CPU %':>5}")
    for level in map(int, arguments.levels.split(",")):
        for client in arguments.clients.split(","):
            print(measure(client, level, arguments.seconds), flush=True)


if __name__ == "__main__":
    main()
