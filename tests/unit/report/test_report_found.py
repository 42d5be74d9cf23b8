"""What monitors found that is no number: events, and sizes before and after."""

from perfload.model import Observation, RunRecord
from perfload.report import found
from tests.unit.report.records import HOSTILE, STARTED_AT_S, manifest


def record(*observations: Observation) -> RunRecord:
    return RunRecord(manifest(), observations=observations)


def seen(second: float, kind: str, **data: object) -> Observation:
    return Observation(STARTED_AT_S + second, "db-1", "mongodb", kind, data)


def sizes(second: float, when: str, documents: int) -> Observation:
    database = {"name": "app", "documents": documents, "data_bytes": 2_500_000, "index_bytes": 40_000}
    return seen(second, "sizes", when=when, databases=[database])


def test_an_event_has_its_time_its_place_and_its_details() -> None:
    slow = seen(
        61, "slow_operation", op="query", ns="app.models", running_ms=1520.4, plan="COLLSCAN", note=""
    )
    shown = found.section(record(slow))
    for words in ("01:01", "slow operation", "mongodb on db-1"):
        assert words in shown
    assert "op query, ns app.models, running_ms 1,520.4, plan COLLSCAN<" in shown


def test_only_so_many_events_are_shown() -> None:
    shown = found.section(record(*(seen(n, "slow_command", command=f"get{n}") for n in range(53))))
    assert "get49" in shown
    assert "get50" not in shown
    assert "3 more in observations.jsonl" in shown


def test_of_sizes_the_first_before_and_the_last_after_count() -> None:
    shown = found.section(
        record(*(sizes(n, when, 1_000 * (n + 1)) for n, when in enumerate(("before",) * 2 + ("after",) * 2)))
    )
    assert "app on db-1" in shown
    assert ">1,000<" in shown
    assert ">4,000<" in shown
    assert "2,000" not in shown


def test_without_anything_found_there_is_nothing() -> None:
    assert found.section(record(seen(1, "operation", ns="a"))) == ""


def test_whatever_is_found_stays_text() -> None:
    for attack in HOSTILE:
        text = attack.encode("utf-8", "replace").decode()
        event = Observation(STARTED_AT_S, text, text, "slow_operation", {text: [text, {text: text}]})
        size = Observation(
            STARTED_AT_S, text, text, "sizes", {"when": "before", "databases": [{"name": text}, 3]}
        )
        shown = found.section(record(event, size))
        assert not any(tag in shown for tag in ("<script", "<img", "<svg", "<b>", "<a "))
