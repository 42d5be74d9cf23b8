"""Reported latencies against a target that knows them: a fixed delay, and a stall under both load models."""

from __future__ import annotations

import statistics

from runs import LOGIN, SHAPE, login_of, run

from perfload.target.process import TargetProcess

REPETITIONS = 5


def delay_errors_ms(base: str) -> dict[str, float]:
    """Return reported - true of one run of 12 s: two users out of step, 50 ms in the target."""
    with TargetProcess("--delay", "50ms") as target:
        options = ("-u", "2", "-r", "2", "-t", "12s")
        row = login_of(run(target.url, *options, think="between(0.01, 0.06)", base=base))
        truth = target.truth()["endpoints"][LOGIN]["latency"]
    return {name: row["service_time_ms"][name] - truth[f"{name}_ms"] for name in ("p50", "p95", "p99")}


def print_delay() -> None:
    """Print the errors of both user classes, runs interleaved."""
    errors: dict[str, list[dict[str, float]]] = {"HttpUser": [], "FastHttpUser": []}
    for _ in range(REPETITIONS):
        for base, found in errors.items():
            found.append(delay_errors_ms(base))
    print(f"reported - true, ms (50 ms delay, median and range of {REPETITIONS} runs)")
    for base, found in errors.items():
        for name in ("p50", "p95", "p99"):
            values = sorted(item[name] for item in found)
            print(
                f"  {base:13} {name}  {statistics.median(values):6.2f}  {values[0]:6.2f} .. {values[-1]:.2f}"
            )


def print_stall() -> None:
    """Print what each load model reports of a stall of 5 s in 20 s at 100 requests a second."""
    print("stall of 5 s in 20 s at 100/s, 50 ms: reported response times, ms")
    print("  from the schedule               p95   4050   p99   4850")
    faults = ("--delay", "50ms", "--stall", "5s@5s")
    with TargetProcess(*faults) as target:
        opened = login_of(run(target.url, shape=SHAPE.format(duration="20s", rate=100)))
    with TargetProcess(*faults) as target:
        options = ("-u", "10", "-r", "10", "-t", "20s")
        closed = login_of(run(target.url, *options, think="constant_throughput(10)"))
    for label, row in (("open: 100 arrivals/s", opened), ("closed: ten users at 10/s", closed)):
        times = row["response_time_ms"]
        print(f"  {label:27} p95 {times['p95']:6.0f}   p99 {times['p99']:6.0f}   requests {row['count']}")


if __name__ == "__main__":
    print_delay()
    print_stall()
