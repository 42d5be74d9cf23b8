"""Charts of what monitors read."""

from dataclasses import replace

import pytest

from perfload.model import Reading, RunRecord
from perfload.report import panels, series
from perfload.report.drawing import Figure
from tests.unit.report.records import STARTED_AT_S, hostile_record, manifest


def reading(
    second: float, metric: str, value: float | None, *, source: str = "host", node: str = "db-1"
) -> Reading:
    return Reading(
        STARTED_AT_S + second, node, source, metric, "", value, "" if value is not None else "gone"
    )


def build(*readings: Reading) -> dict[str, Figure]:
    record = RunRecord(manifest(), readings=readings)
    return panels.build(record, series.time_axis(record))


def test_metrics_of_one_source_share_a_chart_in_its_unit() -> None:
    figures = build(
        reading(0, "network_sent_bytes_per_s", 2_500_000),
        reading(1, "network_received_bytes_per_s", 1_000_000),
        reading(1, "network_received_bytes_per_s", 3_000_000),  # the same second: the highest counts
    )
    assert list(figures) == ["Host: network"]
    received, sent = figures["Host: network"]["data"]
    assert (received["name"], received["y"][:3]) == ("network_received_bytes_per_s", [None, 3.0, None])
    assert (sent["name"], sent["y"][:2]) == ("network_sent_bytes_per_s", [2.5, None])


def test_labels_name_the_lines_and_nodes_are_told_apart_where_there_are_several() -> None:
    cpu = [reading(0, "process_cpu_percent[uvicorn]", 10, source="processes")]
    assert [t["name"] for t in build(*cpu)["Processes: processor time"]["data"]] == ["uvicorn"]
    cpu.append(reading(0, "process_cpu_percent[mongod]", 20, source="processes", node="db-2"))
    names = [t["name"] for t in build(*cpu)["Processes: processor time"]["data"]]
    assert names == ["uvicorn, db-1", "mongod, db-2"]


def test_a_chart_draws_the_lines_with_the_highest_peaks() -> None:
    many = [reading(0, f"series {number:02}", number, source="prometheus") for number in range(20)]
    names = [trace["name"] for trace in build(*many)["Prometheus: series"]["data"]]
    assert names == [f"series {number:02}" for number in range(12, 20)]


@pytest.mark.parametrize(
    "readings",
    [
        (),
        (reading(0, "network_sent_bytes_per_s", None),),
        (reading(-5, "network_sent_bytes_per_s", 1.0),),
        (replace(reading(0, "network_sent_bytes_per_s", 1.0), source="other"),),
    ],
)
def test_without_values_in_the_run_there_is_no_chart(readings: tuple[Reading, ...]) -> None:
    assert build(*readings) == {}


def test_whatever_a_monitor_calls_its_metrics_is_made_harmless() -> None:
    record = hostile_record()
    attack = replace(
        record, readings=tuple(replace(r, source="prometheus") for r in record.readings if r.source == "host")
    )
    for trace in panels.build(attack, series.time_axis(attack))["Prometheus: series"]["data"]:
        assert "<" not in trace["name"]
