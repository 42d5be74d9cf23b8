"""Times of tokens as three clients report them, against the emulator's own: TTFT and ICL.

    python benchmarks/ai_truth.py [--levels 1,50,200,500] [--clients perfload,fasthttp,sdk] [--seconds 15]

Streams of tokens 20 ms apart, as many at a time as the level says. The truth is what `perfload target` wrote
and when, so its own delays are part of it. A row ends with what makes its figures doubtful: the emulator's
lateness against its own plan, the client's CPU, and what perfload says of its run.
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
from pathlib import Path
from typing import Any

from perfload.child import child_environment
from perfload.histogram import Histogram
from perfload.target.process import TargetProcess

GAP = "20ms"
TTFT = "200ms"
TOKENS = 100
KEY = "sk-test-benchmark"

PERFLOAD = """
import random
import time
from locust import constant, task
from perfload.load import OpenAIUser

class Asker(OpenAIUser):
    wait_time = constant(0)
    model = "any"
    default_key = "sk-test-benchmark"
    max_tokens = 100_000

    def on_start(self):
        self.client.get("/health")  # the connection: making it is no part of the emulator's truth
        time.sleep(random.uniform(0, 2.2))  # or those that are spawned together stay in step

    @task
    def ask(self):
        self.chat("Hello")
"""

FAST_HTTP = """
import json
import random
import time
from locust import FastHttpUser, constant, task
from perfload.load import record_values

class Asker(FastHttpUser):
    wait_time = constant(0)

    def on_start(self):
        self.client.get("/health")
        time.sleep(random.uniform(0, 2.2))

    @task
    def ask(self):
        body = {"model": "any", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"Authorization": "Bearer sk-test-benchmark"}
        began, times = time.perf_counter(), []
        for line in self.client.iter_lines("/v1/chat/completions", "POST", json=body, headers=headers):
            if line.startswith("data: {"):
                choices = json.loads(line[6:])["choices"]
                if choices and choices[0]["delta"].get("content"):
                    times.append(time.perf_counter())
        if times:
            record_values("ttft", [1000 * (times[0] - began)], "ms")
            record_values("icl", [1000 * (b - a) for a, b in zip(times, times[1:])], "ms")
"""

LATE_MS = 5.0
"""An emulator whose chunks are later than this is no truth for anybody's 99th percentile."""


class Row:
    """What one client reports at one level, and what really was."""

    def __init__(self, reported: dict[str, Any], note: str, cpu_percent: float) -> None:
        self.reported = reported
        self.note = note
        self.cpu_percent = cpu_percent

    def show(self, client: str, level: int, truth: dict[str, Any]) -> str:
        """Return the line of the table."""
        cells = [f"{client:9} {level:4}"]
        for mine, its in (("ttft", "ttft"), ("icl", "gaps")):
            for name in ("p50", "p99"):
                said, true = self.reported.get(mine, {}).get(name), truth[its][f"{name}_ms"]
                cells.append(
                    f"{true:8.1f} {said - true:+8.2f}" if said is not None else f"{true:8.1f}        -"
                )
        late_ms = truth["late"]["p99_ms"]
        cells.append(f"{truth['chunks']:8,} {late_ms:7.1f} {self.cpu_percent:5.0f}")
        doubts = [self.note] if self.note else []
        if late_ms > LATE_MS:
            doubts.append("emulator late")
        return "  ".join([*cells, "; ".join(doubts)])


def run_locust(scenario: str, url: str, users: int, seconds: int) -> Row:
    """Run Locust with perfload's recording, and `scenario`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "asker.py").write_text(scenario)
        (folder / "perfload.toml").write_text("[thresholds]\nrules = []\n[monitors]\nhost = false\n")
        rate = str(max(1, users // 4))
        command = [sys.executable, "-m", "locust", "-f", str(folder / "asker.py"), "--headless", "-H", url]
        options = ["-u", str(users), "-r", rate, "-t", f"{seconds + 4}s"]
        done = subprocess.run(
            [*command, *options],
            cwd=folder,
            env=child_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        found = list((folder / "reports").glob("*/summary.json"))
        if not found:
            return Row({}, f"no run: {done.stderr.strip().splitlines()[-1:]}", 0.0)
        summary = json.loads(found[0].read_text())
        cpu = _peak_cpu(found[0].parent / "readings.jsonl")
    reported = {row["metric"]: row["spread"] for row in summary["metrics"]}
    failed = sum(row["failures"] for row in summary["requests"] if row["phase"] == "all")
    note = "" if summary["verdict"] in {"passed", "failed"} else f"{summary['verdict']}"
    return Row(reported, "; ".join(filter(None, [note, f"{failed} failed" if failed else ""])), cpu)


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
        self.failed = 0

    def run(self, users: int, seconds: int) -> Row:
        """Ask until the time is over."""
        until_s = time.monotonic() + seconds + 4
        cpu_s, began_s = time.process_time(), time.monotonic()
        threads = [
            threading.Thread(target=self._loop, args=(until_s, random.uniform(0, 4))) for _ in range(users)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        cpu = 100 * (time.process_time() - cpu_s) / (time.monotonic() - began_s)
        reported = {"ttft": _spread(self.ttft), "icl": _spread(self.icl)}
        return Row(reported, f"{self.failed} failed" if self.failed else "", cpu)

    def _loop(self, until_s: float, wait_s: float) -> None:
        time.sleep(wait_s)
        while time.monotonic() < until_s:
            began_ns, times = time.perf_counter_ns(), []
            try:
                stream = self._client.chat.completions.create(
                    model="any", messages=[{"role": "user", "content": "Hello"}], stream=True
                )
                for chunk in stream:
                    if chunk.choices and chunk.choices[0].delta.content:
                        times.append(time.perf_counter_ns())
            except Exception:
                with self._lock:
                    self.failed += 1
                continue
            with self._lock:
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
        return Row({}, f"no run: {done.stderr.strip().splitlines()[-1:]}", 0.0)
    return Row(**json.loads(done.stdout))


def measure(client: str, users: int, seconds: int) -> str:
    """Return the line of one client at one level."""
    emulator = ("--ai-ttft", TTFT, "--ai-gap", GAP, "--ai-tokens", str(TOKENS))
    with TargetProcess(*emulator, "--ai-slots", "2000") as target:
        if client == "sdk":
            row = run_sdk(target.url, users, seconds)
        else:
            row = run_locust(PERFLOAD if client == "perfload" else FAST_HTTP, target.url, users, seconds)
        truth = target.truth()["ai"]["openai"]
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
    print(f"{'client':9} {'at':>4}  {heads}  {'chunks':>8} {'late':>7} {'CPU %':>5}")
    for level in map(int, arguments.levels.split(",")):
        for client in arguments.clients.split(","):
            print(measure(client, level, arguments.seconds), flush=True)


if __name__ == "__main__":
    main()
