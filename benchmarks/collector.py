"""Pauses of Python's garbage collector during a load, with and without what `run.freeze_objects` does.

    python benchmarks/collector.py [seconds]

A closed load of 1,000 users and an open one of 200 arrivals a second go to `perfload target`, each by the
`locust` command in a process of its own. Full passes (generation 2) are rare; one is made in the middle to
see how long it takes. A pause is CPU time, so that other processes do not count.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from perfload.target.process import TargetProcess

SCENARIO = """
import gc, time
import gevent
from locust import constant, events, task
from perfload.load import HttpUser, Phase, PhasedShape

SECONDS = {seconds}
pauses = {{0: [], 1: [], 2: []}}
began_s = 0.0

class Visitor(HttpUser):
    wait_time = constant({wait_s})

    @task
    def visit(self):
        self.client.get("/api/health", name="health").json()

{shape}

def watch(phase, info):
    global began_s
    if phase == "start":
        began_s = time.process_time()
    else:
        pauses[info["generation"]].append(1000 * (time.process_time() - began_s))

@events.test_start.add_listener
def begin(**_):
    gc.callbacks.append(watch)
    gevent.spawn_later(SECONDS / 2, gc.collect)

@events.test_stop.add_listener
def end(**_):
    gc.callbacks.remove(watch)
    for generation, found in pauses.items():
        print("PAUSES", generation, len(found), max(found, default=0.0), sum(found))
"""
SHAPE = """
class Steady(PhasedShape):
    phases = [Phase(name="Steady", duration=SECONDS, arrival_rate=200)]
"""


def measure(url: str, seconds: int, *, is_open: bool, freezes: bool) -> list[list[float]]:
    """Return [generation, passes, longest ms, total ms] for each generation."""
    scenario = SCENARIO.format(seconds=seconds, wait_s=0 if is_open else 1, shape=SHAPE if is_open else "")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "scenario.py").write_text(scenario)
        load = [] if is_open else ["-u", "1000", "-r", "1000", "-t", f"{seconds}s"]
        done = subprocess.run(
            [sys.executable, "-m", "locust", "-f", "scenario.py", "--headless", "-H", url, *load],
            cwd=folder,
            env={**os.environ, "PERFLOAD_FREEZE_OBJECTS": "yes" if freezes else "no"},
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("PAUSES")]
    if not lines:
        raise SystemExit(f"the load did not run:\n{done.stderr[-2000:]}")
    return [[float(value) for value in line] for line in lines]


def main(seconds: int) -> None:
    """Print one table."""
    print(f"{'load':14} {'freeze':7} {'generation':>10} {'passes':>7} {'longest ms':>11} {'total ms':>9}")
    with TargetProcess() as target:
        for is_open in (False, True):
            for freezes in (False, True):
                name = "200 arrivals/s" if is_open else "1,000 users"
                rows = measure(target.url, seconds, is_open=is_open, freezes=freezes)
                for generation, passes, longest_ms, total_ms in rows:
                    print(
                        f"{name:14} {'yes' if freezes else 'no':7} {generation:10.0f} {passes:7.0f} "
                        f"{longest_ms:11.2f} {total_ms:9.1f}"
                    )


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["15"])[0]))
