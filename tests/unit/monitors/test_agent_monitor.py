import json
from collections.abc import Sequence

import pytest

from perfload.errors import UsageError
from perfload.model import Observation, Reading
from perfload.monitoring import AgentAddress, Monitoring
from perfload.monitors import find_monitor
from perfload.monitors.agent import AgentMonitor, AgentUrl
from perfload.monitors.agent.link import AgentUnreachable, Exchange
from perfload.monitors.agent.page import Page, encode_entry
from perfload.monitors.base import Finding, Measurement, MonitorUnavailable
from perfload.monitors.sampler import parse_plan
from perfload.monitors.selection import selected


class ScriptedLink:
    """Answers with what a test puts in; its clock stands still but for what the test does."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.answers: list[Page | Exception] = []
        self.queries: list[str] = []
        self.way_s = 0.0

    def fetch(self, query: str) -> Exchange:
        self.queries.append(query)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        sent_s = self.now_s
        self.now_s += 2 * self.way_s
        return Exchange(answer, sent_s, self.now_s)

    def close(self) -> None:
        pass


@pytest.fixture
def link() -> ScriptedLink:
    return ScriptedLink()


@pytest.fixture
def monitor(link: ScriptedLink) -> AgentMonitor:
    monitor = AgentMonitor("db-1", "http://db:9465", "", clock=lambda: link.now_s)
    monitor._link = link
    monitor.open()
    return monitor


def page(
    number: int, *entries: Reading | Observation | str, now_s: float, session: str = "a", lost: int = 0
) -> Page:
    lines = [entry if isinstance(entry, str) else encode_entry(entry) for entry in entries]
    return Page("box", session, number, lost, lines, now_s, now_s)


def cpu(at_s: float, node: str = "box", source: str = "host") -> Reading:
    return Reading(at_s, node, source, "cpu_percent", "%", 37.5)


def handed_on(found: Sequence[Measurement | Finding]) -> list[tuple[str, str, float | None]]:
    return [(item.source, item.node, item.at_s) for item in found if item.source]


def own(found: Sequence[Measurement | Finding]) -> dict[str, float | str | None]:
    return {
        item.metric: item.unavailable if item.value is None else item.value
        for item in found
        if isinstance(item, Measurement) and not item.source
    }


def test_it_begins_with_the_present_and_then_asks_for_what_is_new(
    monitor: AgentMonitor, link: ScriptedLink
) -> None:
    link.answers = [page(70, now_s=1000.0), page(72, cpu(1000.5), now_s=1001.0)]
    assert own(monitor.read(1000.0)) == {"clock_offset_ms": 0.0, "clock_error_ms": 0.0, "agent_entries": 0.0}
    link.now_s += 1
    assert monitor.read(1001.0)[3:] == [
        Measurement("cpu_percent", "%", 37.5, node="db-1", at_s=1000.5, source="host")
    ]
    assert link.queries == ["", "after=70&session=a"]


def test_times_are_those_of_our_clock(monitor: AgentMonitor, link: ScriptedLink) -> None:
    # The agent is an hour ahead, and the way takes 10 ms in each direction.
    link.way_s = 0.010
    link.answers = [page(1, cpu(4600.0), Observation(4600.5, "box", "mongodb", "index", {}), now_s=4600.010)]
    found = monitor.read(1000.0)
    assert own(found)["clock_offset_ms"] == pytest.approx(3_600_000.0)
    assert own(found)["clock_error_ms"] == pytest.approx(10.0)
    assert handed_on(found) == [
        ("host", "db-1", pytest.approx(1000.0)),
        ("mongodb", "db-1", pytest.approx(1000.5)),
    ]


def test_another_machine_keeps_its_name(monitor: AgentMonitor, link: ScriptedLink) -> None:
    link.answers = [page(1, cpu(1000.0, node="redis-1:6379", source="redis"), now_s=1000.0)]
    assert handed_on(monitor.read(1000.0)) == [("redis", "redis-1:6379", 1000.0)]


def test_a_reason_why_something_is_unavailable_is_handed_on(
    monitor: AgentMonitor, link: ScriptedLink
) -> None:
    link.answers = [page(1, Reading(1000.0, "box", "redis", "*", "", None, "refused"), now_s=1000.0)]
    assert monitor.read(1000.0)[3:] == [
        Measurement("*", "", None, "refused", node="db-1", at_s=1000.0, source="redis")
    ]


def test_an_agent_that_goes_away_leaves_a_gap_that_its_memory_may_fill(
    monitor: AgentMonitor, link: ScriptedLink
) -> None:
    link.answers = [
        page(5, now_s=1000.0),
        AgentUnreachable("Connection refused"),
        page(8, cpu(1000.5), cpu(1001.5), now_s=1002.0),
    ]
    monitor.read(1000.0)
    link.now_s += 1
    reason = "cannot reach the agent at http://db:9465: Connection refused; is perfload agent running there?"
    assert monitor.read(1001.0) == [Measurement("*", "", None, reason, node="db-1")]
    link.now_s += 1
    assert handed_on(monitor.read(1002.0)) == [("host", "db-1", 1000.5), ("host", "db-1", 1001.5)]
    assert link.queries[1:] == ["after=5&session=a"] * 2


def test_an_agent_that_was_started_anew_is_read_from_its_start_with_its_own_offset(
    monitor: AgentMonitor, link: ScriptedLink
) -> None:
    link.answers = [
        page(5, now_s=1060.0),
        page(2, cpu(900.0), cpu(2000.5), now_s=2001.0, session="b"),
        page(3, cpu(2001.5), now_s=2002.0, session="b"),
    ]
    monitor.read(1000.0)
    link.now_s += 1
    found = monitor.read(1001.0)
    assert own(found)["clock_offset_ms"] == 1_000_000.0
    # What it had measured before this run began is no part of it.
    assert handed_on(found) == [("host", "db-1", 1000.5)]
    link.now_s += 1
    assert handed_on(monitor.read(1002.0)) == [("host", "db-1", 1001.5)]
    assert link.queries[1:] == ["after=5&session=a", "after=2&session=b"]


def test_entries_that_cannot_be_are_refused_and_the_others_taken(
    monitor: AgentMonitor, link: ScriptedLink
) -> None:
    link.answers = [
        page(
            5,
            "<script>",
            cpu(1000.0, source="generator"),
            cpu(1000.0, source="agent.db-2"),
            cpu(1500.0),
            cpu(1000.0),
            now_s=1000.0,
        )
    ]
    found = monitor.read(1000.0)
    assert handed_on(found) == [("host", "db-1", 1000.0)]
    assert str(own(found)["agent_entries"]).startswith("4 entries were refused: ")


def test_entries_that_were_lost_are_told(monitor: AgentMonitor, link: ScriptedLink) -> None:
    link.answers = [page(5, now_s=1000.0, lost=3)]
    reason = "3 entries had left the agent's memory before they were fetched"
    assert own(monitor.read(1000.0))["agent_entries"] == reason


def test_an_agent_that_counts_backwards_is_refused(monitor: AgentMonitor, link: ScriptedLink) -> None:
    link.answers = [page(5, now_s=1000.0), page(4, now_s=1000.0)]
    monitor.read(1000.0)
    with pytest.raises(MonitorUnavailable, match="counts backwards"):
        monitor.read(1001.0)


def test_at_the_end_the_last_entries_are_fetched(monitor: AgentMonitor, link: ScriptedLink) -> None:
    link.answers = [page(5, now_s=1000.0), page(6, cpu(1000.5), now_s=1001.0)]
    monitor.read(1000.0)
    link.now_s += 1
    assert handed_on(monitor.finish(1001.0)) == [("host", "db-1", 1000.5)]


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://db-1:9465", AgentUrl(False, "db-1", 9465, "")),
        ("http://db-1", AgentUrl(False, "db-1", 9465, "")),
        ("https://db-1/perfload/", AgentUrl(True, "db-1", 443, "/perfload")),
        ("http://[::1]:80", AgentUrl(False, "::1", 80, "")),
    ],
)
def test_an_address(url: str, parts: AgentUrl) -> None:
    assert AgentUrl.parse(url, "db-1") == parts


@pytest.mark.parametrize("url", ["", "db-1:9465", "ftp://db-1", "http://", "http://u:p@db-1", "http://db:x"])
def test_what_is_no_address_is_a_usage_error_that_does_not_repeat_it(url: str) -> None:
    with pytest.raises(UsageError, match="agent 'db-1': its url is no address") as caught:
        AgentUrl.parse(url, "db-1")
    assert "u:p" not in str(caught.value)


def environment(**urls: str) -> dict[str, str]:
    return {"PERFLOAD_AGENTS": json.dumps([{"name": name, "url": url} for name, url in urls.items()])}


def test_an_agent_is_a_monitor_by_its_name() -> None:
    plan = parse_plan("agent.db-1@5s", interval_s=1.0, timeout_s=2.0)
    assert (plan.name, plan.interval_s) == ("agent.db-1", 5.0)
    assert isinstance(find_monitor("agent.db")(environment(db="http://db")), AgentMonitor)
    with pytest.raises(UsageError, match="there is no agent 'cache'"):
        find_monitor("agent.cache")(environment(db="http://db"))


@pytest.mark.parametrize("name", ["agent.", "agent.a b", "agent.-x", "agent." + "x" * 65])
def test_a_name_that_no_agent_can_have_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="an agent is named"):
        find_monitor(name)


@pytest.mark.parametrize("text", ["{", "7", '[{"name": "db"}]', '["db"]'])
def test_a_list_of_agents_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="PERFLOAD_AGENTS is no list of agents"):
        find_monitor("agent.db")({"PERFLOAD_AGENTS": text})


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "ü"])
def test_a_token_that_no_header_can_carry_is_a_usage_error(token: str) -> None:
    with pytest.raises(UsageError, match="PERFLOAD_AGENT_TOKEN: a token that no agent can have"):
        AgentMonitor("db-1", "http://db", token)


def monitoring(*, processes: tuple[str, ...] = (), agents: tuple[AgentAddress, ...] = ()) -> Monitoring:
    return Monitoring(
        interval_s=1.0,
        intervals_s={},
        timeout_s=2.0,
        host=True,
        processes=processes,
        gpu="off",
        mongodb=False,
        mongodb_profile="off",
        mongodb_slow_ms=100.0,
        redis=False,
        prometheus_url="",
        prometheus_queries={},
        agents=agents,
    )


def test_what_is_configured_is_selected() -> None:
    agents = (AgentAddress("db-1", "http://db-1"), AgentAddress("api", "https://api"))
    assert selected(monitoring(), {}) == ("host",)
    found = selected(monitoring(processes=("name:uvicorn",), agents=agents), {})
    assert found == ("host", "processes", "agent.db-1", "agent.api")


def test_what_cannot_be_watched_is_a_usage_error_before_anything_starts() -> None:
    with pytest.raises(UsageError, match="chooses none"):
        selected(monitoring(processes=("uvicorn",)), {})
    with pytest.raises(UsageError, match="no address of an agent"):
        selected(monitoring(agents=(AgentAddress("db-1", "db-1"),)), {})
