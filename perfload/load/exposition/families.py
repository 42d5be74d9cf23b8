"""What `/metrics` says, as families of samples; docs/monitors/prometheus-sink.md describes each.

Samples are made one at a time while they are written down, so that others get their turn in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from perfload import __version__
from perfload.load.live import Live, LiveRun
from perfload.model import Reading

Sample = tuple[str, dict[str, str], float]
"""Suffix of the name, labels, value."""

Pause = Callable[[], None]

SAMPLES_AT_A_TIME = 25
"""After so many samples, a fraction of a millisecond, others get their turn."""

STATUSES = ("pass", "fail", "no_data")


class LiveCollector:
    """A collector as `prometheus_client` has them, over everything that is known live."""

    def __init__(self, live: Live, pause: Pause, workers: Callable[[], int | None]) -> None:
        """Collect from `live`; `workers` says how many are connected, None if there can be none."""
        self._live = live
        self._pause = pause
        self._workers = workers

    def describe(self) -> list[Any]:
        """Return nothing: whoever registers this collector need not collect to learn its names."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield one metric family after the other."""
        yield from self._counters()
        workers = self._workers()
        if workers is not None:
            yield self._family("perfload_workers", "gauge", "workers that are connected", [("", {}, workers)])
        run = self._live.run
        yield self._family(
            "perfload_run_active",
            "gauge",
            "1 while a run is under way",
            [("", {}, float(run is not None and not run.has_ended))],
        )
        if run is not None:
            yield from self._run(run)
            yield from self._rules(run)
            yield from self._generators(run)
            yield from self._readings(run)

    def _family(self, name: str, kind: str, about: str, samples: Iterable[Sample]) -> Any:
        from prometheus_client import Metric
        from prometheus_client.samples import Sample as TheirSample

        def paused() -> Iterator[Any]:
            for number, (suffix, labels, value) in enumerate(samples):
                if number and not number % SAMPLES_AT_A_TIME:
                    self._pause()
                yield TheirSample(name + suffix, labels, value)

        family = Metric(name, about, kind)
        family.samples = paused()  # type: ignore[assignment]  # written down as they are made
        return family

    def _counters(self) -> Iterator[Any]:
        totals = self._live.totals
        counter = "counter"
        yield self._family("perfload_requests", counter, "requests that finished", self._outcomes())
        failures = (
            ("_total", {"method": method, "name": name, "reason": reason}, float(count))
            for (method, name, reason), count in list(totals.failures.items())
        )
        yield self._family("perfload_failures", counter, "requests that failed, by reason", failures)
        yield from self._arrivals()
        yield self._family(
            "perfload_scenario_errors",
            counter,
            "virtual users that failed in the scenario's own code",
            [("_total", {}, float(totals.scenario_errors))],
        )

    def _outcomes(self) -> Iterator[Sample]:
        for (method, name), request in list(self._live.totals.requests.items()):
            for phase, counts in list(request.by_phase.items()):
                labels = {"method": method, "name": name, "phase": phase}
                for outcome, count in zip(("ok", "failed"), counts, strict=True):
                    yield "_total", {**labels, "outcome": outcome}, float(count)

    def _arrivals(self) -> Iterator[Any]:
        planned = self._live.planned()
        arrivals = dict(self._live.totals.arrivals)
        counts: Mapping[str, tuple[str, Mapping[str, int]]] = {
            "planned": ("virtual users that were due by now", planned),
            "started": (
                "virtual users that started",
                {phase: row.started for phase, row in arrivals.items()},
            ),
            "late": ("those that started 5 ms late or more", {p: row.late for p, row in arrivals.items()}),
            "dropped": ("not started: too many in flight", {p: row.dropped for p, row in arrivals.items()}),
            "lost": ("not started: their worker was away", {p: row.lost for p, row in arrivals.items()}),
        }
        for state, (about, by_phase) in counts.items():
            samples = [("_total", {"phase": phase}, float(count)) for phase, count in by_phase.items()]
            yield self._family(f"perfload_arrivals_{state}", "counter", about, samples)

    def _run(self, run: LiveRun) -> Iterator[Any]:
        manifest, gauge = run.manifest, "gauge"
        info = {
            "run_id": manifest.run_id,
            "shape": manifest.shape,
            "scenarios": ",".join(manifest.scenarios)[:200],
            "host": manifest.host[:200],
            "version": __version__,
        }
        yield self._family(
            "perfload_run_info", gauge, "the run under way, or the last one", [("", info, 1.0)]
        )
        now = run.span
        phases = [
            ("", {"phase": self._live.totals.phase(span.name), "model": span.model}, float(span is now))
            for span in manifest.phases
        ]
        yield self._family("perfload_phase", gauge, "1 for the phase under way", phases)
        planned_s = manifest.phases[-1].start_s + manifest.phases[-1].duration_s
        single = {
            "perfload_run_start_time_seconds": ("since the epoch", manifest.started_at_s),
            "perfload_run_elapsed_seconds": ("since the run's start, until its end", max(0.0, run.now_s())),
            "perfload_run_planned_seconds": ("how long the plan is; 0 without one", planned_s),
            "perfload_run_requests": ("requests that finished in this run", run.requests),
            "perfload_run_failures": ("requests that failed in this run", run.failures),
            "perfload_run_arrivals_started": ("virtual users that started in this run", run.started),
        }
        if now is not None and now.model == "users":
            share = (run.now_s() - now.start_s) / now.duration_s if now.duration_s else 0.0
            users = now.start + (now.end - now.start) * share
            single["perfload_users_planned"] = ("concurrent users that the plan asks for", users)
        for name, (about, value) in single.items():
            yield self._family(name, gauge, about, [("", {}, float(value))])

    def _rules(self, run: LiveRun) -> Iterator[Any]:
        verdicts = run.rules.verdicts()
        states: list[Sample] = [
            ("", {"rule": verdict.rule, "state": status}, float(verdict.status == status))
            for verdict in verdicts
            for status in STATUSES
        ]
        about = "1 for the state in which a threshold is: it would end so if the run ended now"
        yield self._family("perfload_threshold_state", "gauge", about, states)
        observed: list[Sample] = [
            ("", {"rule": verdict.rule, "unit": verdict.unit}, verdict.observed)
            for verdict in verdicts
            if verdict.observed is not None
        ]
        yield self._family(
            "perfload_threshold_observed", "gauge", "what a threshold is about, so far", observed
        )
        limits: list[Sample] = [
            ("", {"rule": verdict.rule, "unit": verdict.unit}, verdict.limit) for verdict in verdicts
        ]
        yield self._family("perfload_threshold_limit", "gauge", "what it is held against", limits)

    def _generators(self, run: LiveRun) -> Iterator[Any]:
        gauge, health = "gauge", run.fresh_health()
        counts = [("", {"state": state}, float(count)) for state, count in run.generators().items()]
        yield self._family("perfload_generators", gauge, "load generators in this run", counts)
        users = [("", {"node": node}, its.users) for node, its in health.items()]
        yield self._family("perfload_users", gauge, "virtual users in flight, peak of a second", users)
        cpu = [("", {"node": node}, its.cpu_percent / 100) for node, its in health.items()]
        yield self._family("perfload_generator_cpu_ratio", gauge, "of one core", cpu)
        lag = [("", {"node": node}, its.loop_lag_ms / 1000) for node, its in health.items()]
        about = "worst lateness of its event loop in a second"
        yield self._family("perfload_generator_loop_lag_seconds", gauge, about, lag)
        limit: list[Sample] = [("", {}, run.manifest.max_generator_cpu_percent / 100)]
        yield self._family("perfload_generator_cpu_limit_ratio", gauge, "above it a run is invalid", limit)
        limit = [("", {}, run.manifest.max_lag_p95_ms / 1000)]
        yield self._family("perfload_arrival_lag_limit_seconds", gauge, "the same for the p95 of lag", limit)

    def _readings(self, run: LiveRun) -> Iterator[Any]:
        run.readings.poll(self._pause)
        fresh = [one.reading for one in run.readings.standing(run.epoch_now_s()) if one.is_fresh]
        values: list[Sample] = []
        missing: list[Sample] = []
        read_at_s: dict[tuple[str, str], float] = {}
        for reading in fresh:
            source = (reading.node, reading.source)
            read_at_s[source] = max(read_at_s.get(source, 0.0), reading.at_s)
            if reading.value is None:
                missing.append(("", _labels(reading), 1.0))
            else:
                values.append(("", {**_labels(reading), "unit": reading.unit}, reading.value))
        yield self._family("perfload_reading", "gauge", "what monitors read last", values)
        yield self._family("perfload_reading_unavailable", "gauge", "1 for what cannot be read", missing)
        stamps = [("", {"node": node, "source": name}, at_s) for (node, name), at_s in read_at_s.items()]
        about = "when a monitor last said something, since the epoch"
        yield self._family("perfload_source_read_time_seconds", "gauge", about, stamps)
        left_out: list[Sample] = [("", {}, float(run.readings.left_out))]
        yield self._family("perfload_readings_left_out", "gauge", "readings too many to tell apart", left_out)


def _labels(reading: Reading) -> dict[str, str]:
    """Return where a reading is from, as an agent's `/metrics` has it too."""
    return {"node": reading.node, "source": reading.source, "metric": reading.metric}
