from collections.abc import Mapping
from typing import Any

import pytest

from perfload.monitors.mongodb.parts import Moment
from perfload.monitors.mongodb.top import BUSIEST, Top
from tests.unit.monitors.mongodb.answers import Answers, reasons, values


def top_of(times: Mapping[str, tuple[int, int, int]]) -> Mapping[str, Any]:
    """Return an answer with (read time in us, write time in us, operations) by namespace."""
    return {
        "top": {
            "totals": {
                "note": "all times in microseconds",
                **{
                    namespace: {
                        "readLock": {"time": read_us, "count": count},
                        "writeLock": {"time": write_us, "count": 0},
                        "total": {"time": read_us + write_us, "count": count},
                    }
                    for namespace, (read_us, write_us, count) in times.items()
                },
            }
        }
    }


def test_times_per_second_of_the_collections_that_were_used() -> None:
    answers, part = Answers(top_of({"app.models": (1000, 0, 1), "app.idle": (77, 0, 1)})), Top()
    assert part.read(answers, Moment(100.0, "a")) == []
    answers.answers = dict(top_of({"app.models": (6000, 2500, 51), "app.idle": (77, 0, 1)}))
    assert values(part.read(answers, Moment(105.0, "a"))) == {
        "collection_read_ms_per_s[app.models]": 1.0,
        "collection_write_ms_per_s[app.models]": 0.5,
        "collection_operations_per_s[app.models]": 10.0,
    }
    # Quiet now, but it was busy in this run: its line in the chart goes down to 0.
    found = values(part.read(answers, Moment(110.0, "a")))
    assert found["collection_read_ms_per_s[app.models]"] == 0


def test_only_the_busiest_since_the_start() -> None:
    answers, part = Answers(top_of({f"app.c{n:02}": (0, 0, 0) for n in range(30)})), Top()
    part.read(answers, Moment(100.0, "a"))
    answers.answers = dict(top_of({f"app.c{n:02}": (n * 1000, 0, n) for n in range(30)}))
    found = values(part.read(answers, Moment(105.0, "a")))
    assert len(found) == 3 * BUSIEST
    assert {f"collection_read_ms_per_s[app.c{n}]" for n in range(20, 30)} < found.keys()


def test_databases_of_the_server_itself_do_not_count() -> None:
    names = ("local.oplog.rs", "admin.system.users", "config.transactions", "nodot")
    answers, part = Answers(top_of(dict.fromkeys(names, (0, 0, 0)))), Top()
    part.read(answers, Moment(100.0, "a"))
    answers.answers = dict(top_of(dict.fromkeys(names, (9000, 9000, 9))))
    assert part.read(answers, Moment(105.0, "a")) == []


def test_a_collection_that_was_made_anew_has_no_rate_once() -> None:
    answers, part = Answers(top_of({"app.models": (1000, 0, 10)})), Top()
    part.read(answers, Moment(100.0, "a"))
    answers.answers = dict(top_of({"app.models": (3000, 0, 30)}))
    part.read(answers, Moment(105.0, "a"))
    answers.answers = dict(top_of({"app.models": (500, 0, 5)}))
    found = part.read(answers, Moment(110.0, "a"))
    assert reasons(found)["collection_read_ms_per_s[app.models]"] == "the counter ran back: it was reset"


def test_a_restart_says_so() -> None:
    answers, part = Answers(top_of({"app.models": (1000, 0, 10)})), Top()
    part.read(answers, Moment(100.0, "a"))
    found = part.read(answers, Moment(105.0, "b"))
    assert set(reasons(found).values()) == {"the server was restarted, or another one answers now"}


def test_is_read_less_often_where_there_are_very_many_collections() -> None:
    part = Top()
    assert part.every_s == 5
    answers = Answers(top_of({f"app.c{n}": (0, 0, 0) for n in range(1001)}))
    for at_s in (1.0, 6.0):
        part.read(answers, Moment(at_s, "a"))
    assert part.every_s == 30


@pytest.mark.parametrize("totals", [None, [], {"app.x": 3}, {"app.x": {"readLock": 1}}, {"": {}}])
def test_strange_answers_do_no_harm(totals: object) -> None:
    part = Top()
    for at_s in (1.0, 6.0):
        assert part.read(Answers({"top": {"totals": totals}}), Moment(at_s, "a")) == []
