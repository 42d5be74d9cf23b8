import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from perfload.monitors.mongodb.parts import Moment
from perfload.monitors.mongodb.server_commands import CommandFailed
from perfload.monitors.mongodb.server_status import ServerStatus
from tests.unit.monitors.mongodb.answers import Answers, reasons, values

RECORDED = json.loads((Path(__file__).parent / "server_status_6.0.json").read_text())
"""What a mongod 6.0.5 said before and after a known number of operations, cut down to the fields read."""

RATES = {
    "operations_per_s[insert]": 150.0,
    "operations_per_s[query]": 150.5,
    "operations_per_s[update]": 10.0,
    "operations_per_s[delete]": 0.5,
    "operations_per_s[getmore]": 0.5,
    "operations_per_s[command]": 0.5,
    "connections_created_per_s": 0.0,
    "cache_read_bytes_per_s": 0.0,
    "cache_written_bytes_per_s": 0.0,
    "cache_application_evictions_per_s": 0.0,
    "keys_examined_per_s": 0.0,
    "documents_examined_per_s": 2003.5,
    "collection_scans_per_s": 161.0,
    "documents_per_s[returned]": 800.0,
    "documents_per_s[inserted]": 150.0,
    "documents_per_s[updated]": 10.0,
    "documents_per_s[deleted]": 0.5,
    "sorts_in_memory_per_s": 1.0,
    "write_conflicts_per_s": 0.0,
    "cursors_timed_out_per_s": 0.0,
    "transactions_per_s[started]": 0.0,
    "transactions_per_s[committed]": 0.0,
    "transactions_per_s[aborted]": 0.0,
    "network_received_bytes_per_s": 43740.5,
    "network_sent_bytes_per_s": 78410.0,
    "requests_per_s": 312.0,
    "page_faults_per_s": 0.0,
    "asserts_per_s[regular]": 0.0,
    "asserts_per_s[warning]": 0.0,
    "asserts_per_s[msg]": 0.0,
    "asserts_per_s[user]": 0.0,
    "flow_control_wait_ms_per_s": 0.1145,
    "latency_mean_ms[reads]": 20111 / 302 / 1000,
    "latency_mean_ms[writes]": (35197 - 17846) / 321 / 1000,
    "latency_mean_ms[commands]": 0.834,
}
GAUGES = {
    "connections[current]": 4.0,
    "connections[available]": 15996.0,
    "connections[active]": 3.0,
    "lock_queue[readers]": 0.0,
    "lock_queue[writers]": 0.0,
    "active_clients[readers]": 0.0,
    "active_clients[writers]": 0.0,
    "cache_used_percent": 100 * 364420 / 268435456,
    "cache_dirty_percent": 100 * 361537 / 268435456,
    "tickets_out[read]": 0.0,
    "tickets_available[read]": 128.0,
    "tickets_used_percent[read]": 0.0,
    "tickets_out[write]": 0.0,
    "tickets_available[write]": 128.0,
    "tickets_used_percent[write]": 0.0,
    "cursors_open": 0.0,
    "transactions_open": 0.0,
    "memory_resident_bytes": 119.0 * 1024 * 1024,
    "flow_control_lagged": 0.0,
    "uptime_s": 1.123,
}


def recorded(number: int) -> dict[str, Any]:
    status: dict[str, Any] = copy.deepcopy(RECORDED[number])
    return status


def read_twice(before: Mapping[str, Any], after: Mapping[str, Any], *, server: str = "a") -> Any:
    answers = Answers({"serverStatus": before})
    part = ServerStatus()
    part.read(answers, Moment(100.0, "a"))
    answers.answers["serverStatus"] = after
    return part.read(answers, Moment(102.0, server))


def test_the_first_read_has_gauges_only() -> None:
    found = ServerStatus().read(Answers({"serverStatus": recorded(1)}), Moment(100.0, "a"))
    assert values(found) == pytest.approx(GAUGES)
    assert reasons(found) == {}


def test_rates_are_per_second_between_two_reads() -> None:
    found = read_twice(recorded(0), recorded(1))
    none = {"latency_mean_ms[transactions]": "no transactions since the read before"}
    assert reasons(found) == none
    assert {name: value for name, value in values(found).items() if value is not None} == pytest.approx(
        RATES | GAUGES
    )
    assert values(found).keys() == {metric for metric, _ in ServerStatus.metrics}


def test_tickets_where_newer_versions_have_them() -> None:
    statuses = [recorded(0), recorded(1)]
    for status, waited_us in zip(statuses, (1_000, 9_000), strict=True):
        del status["wiredTiger"]["concurrentTransactions"]
        status["version"] = "8.0.4"
        queue = {"queueLength": 7, "totalTimeQueuedMicros": waited_us, "admissions": 12}
        execution = {"out": 6, "available": 2, "totalTickets": 8, "normalPriority": queue}
        status["queues"] = {"execution": {"read": execution, "write": {**execution, "out": 0}}}
    found = values(read_twice(*statuses))
    assert found["tickets_out[read]"] == 6
    assert found["tickets_available[read]"] == 2
    assert found["tickets_used_percent[read]"] == 75
    assert found["tickets_used_percent[write]"] == 0
    assert found["ticket_queue[read]"] == 7
    assert found["ticket_wait_ms_per_s[write]"] == 4


def test_a_router_has_no_storage_of_its_own() -> None:
    status = recorded(1)
    del status["wiredTiger"], status["flowControl"]
    status["process"] = "mongos"
    found = ServerStatus().read(Answers({"serverStatus": status}), Moment(100.0, "a"))
    assert reasons(found)["tickets_out[read]"] == "mongos 6.0.5 does not report it"
    assert reasons(found)["cache_used_percent"] == "mongos 6.0.5 does not report it"
    assert reasons(found)["flow_control_lagged"] == "mongos 6.0.5 does not report it"
    assert values(found)["connections[current]"] == 4
    assert "ticket_queue[read]" not in values(found)


def test_after_a_restart_there_are_no_rates_even_where_the_counters_are_higher() -> None:
    found = read_twice(recorded(0), recorded(1), server="b")
    assert {name for name, value in values(found).items() if value is None} == {
        *RATES,
        "latency_mean_ms[transactions]",
    }
    assert set(reasons(found).values()) == {"the server was restarted, or another one answers now"}


def test_a_counter_that_ran_back_has_no_rate() -> None:
    found = read_twice(recorded(1), recorded(0))
    assert reasons(found)["operations_per_s[insert]"] == "the counter ran back: it was reset"
    assert values(found)["operations_per_s[insert]"] is None
    assert values(found)["connections_created_per_s"] == 0


def test_a_field_that_was_not_there_before_has_no_rate_yet() -> None:
    before = recorded(0)
    del before["opcounters"]
    found = read_twice(before, recorded(1))
    assert reasons(found)["operations_per_s[insert]"] == "the read before this one did not have it"


def test_no_time_between_two_reads() -> None:
    answers, part = Answers({"serverStatus": recorded(0)}), ServerStatus()
    part.read(answers, Moment(100.0, "a"))
    found = part.read(answers, Moment(100.0, "a"))
    assert reasons(found)["requests_per_s"] == "no time passed between two reads"


@pytest.mark.parametrize(
    "hostile",
    [{"opcounters": []}, {"opcounters": {"insert": "many"}}, {"wiredTiger": None}, {"version": ["x"]}],
)
def test_fields_of_other_types_are_missing_and_do_no_harm(hostile: Mapping[str, Any]) -> None:
    found = read_twice(recorded(0), recorded(1) | hostile)
    assert values(found)["documents_per_s[inserted]"] == 150


def test_a_cache_without_a_limit() -> None:
    status = recorded(0)
    status["wiredTiger"]["cache"]["maximum bytes configured"] = 0
    found = ServerStatus().read(Answers({"serverStatus": status}), Moment(1.0, "a"))
    assert reasons(found)["cache_used_percent"] == "the server says that there are 0 in all"


def test_asks_plainly_where_options_are_not_understood() -> None:
    class Old(Answers):
        def run(self, command: Mapping[str, Any], *, database: str = "admin") -> Mapping[str, Any]:
            if len(command) > 1:
                self.asked.append("short")
                raise CommandFailed("unknown field")
            return super().run(command, database=database)

    answers, part = Old({"serverStatus": recorded(0)}), ServerStatus()
    for at_s in (1.0, 2.0):
        assert values(part.read(answers, Moment(at_s, "a")))["connections[current]"] == 4
    assert answers.asked == ["short", "serverStatus", "serverStatus"]
