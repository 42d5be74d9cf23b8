"""How late virtual users start: each logs in once on a connection of its own, and leaves."""

from __future__ import annotations

from runs import SHAPE, run

from perfload.target.process import TargetProcess

RATES_PER_S = (50, 100, 200, 400)

if __name__ == "__main__":
    print("arrivals/s  started  lag p50 ms  lag p99 ms  late (> 5 ms)  generator CPU, % of a core")
    for rate in RATES_PER_S:
        with TargetProcess("--no-latency") as target:
            summary = run(target.url, shape=SHAPE.format(duration="10s", rate=rate))
        arrivals, node = summary["phases"][0]["arrivals"], summary["nodes"][0]
        lag = arrivals["lag_ms"]
        print(
            f"{rate:10} {arrivals['started']:8} {lag['p50']:11.2f} {lag['p99']:11.2f}"
            f" {100 * arrivals['late'] / arrivals['started']:12.1f} % {node['cpu_percent_max']:20.0f}"
        )
