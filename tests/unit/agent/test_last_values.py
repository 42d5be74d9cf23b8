from prometheus_client.parser import text_string_to_metric_families

from perfload.agent.exposition import expose
from perfload.agent.last_values import MAX_SERIES, LastValues
from perfload.model import Observation, Reading


def reading(metric: str, value: float | None, at_s: float = 1000.0, source: str = "host") -> Reading:
    return Reading(at_s, "db-1", source, metric, "%", value, "" if value is not None else "no reason")


def exposed(values: LastValues, now_s: float) -> dict[str, dict[tuple[str, ...], float]]:
    """Return what Prometheus reads: value by label values, by name."""
    text = expose(values.snapshot(now_s)).body.decode()
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


def test_the_newest_value_of_each_metric_is_exposed() -> None:
    values = LastValues({"host": 1.0})
    values.update([reading("cpu_percent", 10.0), reading("memory_percent", 70.0)])
    values.update([reading("cpu_percent", 20.0, 1001.0), Observation(1001.0, "db-1", "host", "k", {})])
    assert exposed(values, 1002.0) == {
        "perfload_reading": {
            ("cpu_percent", "db-1", "host", "%"): 20.0,
            ("memory_percent", "db-1", "host", "%"): 70.0,
        },
        "perfload_monitor_up": {("host",): 1.0},
        "perfload_series_left_out": {(): 0.0},
    }


def test_values_older_than_three_intervals_of_their_monitor_are_left_out() -> None:
    values = LastValues({"host": 1.0, "mongodb": 10.0})
    values.update([reading("cpu_percent", 10.0)])
    values.update([reading("connections", 5.0, source="mongodb")])
    assert len(exposed(values, 1003.0)["perfload_reading"]) == 2
    assert exposed(values, 1003.1)["perfload_reading"] == {("connections", "db-1", "mongodb", "%"): 5.0}
    assert exposed(values, 1030.1)["perfload_reading"] == {}


def test_a_value_that_is_unavailable_is_no_longer_shown() -> None:
    values = LastValues({"host": 1.0})
    values.update([reading("swap_percent", 10.0)])
    values.update([reading("swap_percent", None, 1001.0)])
    found = exposed(values, 1001.0)
    assert found["perfload_reading"] == {}
    assert found["perfload_monitor_up"] == {("host",): 1.0}


def test_a_monitor_that_fails_is_down_until_it_works_again() -> None:
    values = LastValues({"redis": 1.0, "host": 1.0})
    values.update([reading("*", None, source="redis")])
    assert exposed(values, 1000.0)["perfload_monitor_up"] == {("redis",): 0.0}
    values.update([reading("hits", 1.0, source="redis")])
    assert exposed(values, 1000.0)["perfload_monitor_up"] == {("redis",): 1.0}


def test_series_are_bounded() -> None:
    values = LastValues({"host": 1.0})
    values.update([reading(f"metric_{number}", 1.0) for number in range(MAX_SERIES + 3)])
    found = exposed(values, 1000.0)
    assert len(found["perfload_reading"]) == MAX_SERIES
    assert found["perfload_series_left_out"] == {(): 3.0}


def test_labels_are_escaped() -> None:
    values = LastValues({"host": 1.0})
    values.update([reading('a"b\\c\nd[é]', 1.0)])
    assert list(exposed(values, 1000.0)["perfload_reading"]) == [('a"b\\c\nd[é]', "db-1", "host", "%")]
