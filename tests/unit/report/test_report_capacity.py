import pytest

from perfload.capacity import Capacity, Visit, estimate
from perfload.costs import COSTS
from perfload.model import Phase
from perfload.plan import Plan
from perfload.report import capacity as page
from perfload.report.capacity import render_capacity
from perfload.report.layout import columns_of
from perfload.report.quantities import NOTHING
from tests.unit.test_capacity import COSTS as ROUND_COSTS
from tests.unit.test_capacity import LOAD_TEST


def lines(
    capacity: Capacity, *, assumed: frozenset[str] = frozenset(), options: str = "", width: int = 80
) -> list[str]:
    text = render_capacity(
        capacity, shape="load_test", file="shapes/load_test.py", assumed=assumed, options=options, width=width
    )
    return text.splitlines()


def reckoned(*phases: Phase, **visit: object) -> Capacity:
    return estimate(Plan(phases or LOAD_TEST), Visit(**visit), costs=ROUND_COSTS)  # type: ignore[arg-type]


def load(rate: float) -> Capacity:
    return reckoned(Phase(name="Load", duration="10m", arrival_rate=rate))


def test_the_load_test_on_one_page() -> None:
    assert lines(reckoned(duration_s=3.0, requests=2.0)) == [
        "load_test: 1 h 5 min, 244,500 arrivals",
        "  A visit lasts 3 s and makes 2 requests. In a stall the system answers nothing",
        "  for 60 s.",
        "",
        "Phases, each at its peak; CPU of one core",
        "  phase             arrivals  arrivals/s  requests/s  users  in a stall     CPU",
        "  ────────────────  ────────  ──────────  ──────────  ─────  ──────────  ──────",
        "  Warm up              1,500           5          10     15         315  0.15 %",
        "  Gradual increase    18,000          50         100    150       3,018   1.5 %",
        "  Normal load         90,000          50         100    150       3,150   1.5 %",
        "  Peak load           90,000         100         200    300       6,300     3 %",
        "  Stress test         45,000         150         300    450       9,450   4.5 %",
        "",
        "Limits",
        "  limit                   needed  there is  used",
        "  ──────────────────────  ──────  ────────  ────",
        "  open files of a worker   9,470    10,000  95 %",
        "  ports to the target     18,450    28,232  65 %",
        "  CPU of a worker          6.5 %      60 %  11 %",
        "",
        "1 worker has CPU enough; it takes 211 MiB of memory, all traffic together 4.08",
        "Mbit/s.",
        "The nearest limit: open files of a worker. What helps: `ulimit -n` before each",
        "worker starts, or more workers.",
        "",
        "Start",
        "  ulimit -n 9470",
        "  perfload run SCENARIO load_test --host URL",
    ]


def test_workers_are_started_on_one_machine_or_on_several() -> None:
    shown = lines(load(4_000), options=" --time-scale 60")
    assert shown[shown.index("Start on one machine with 3 cores or more") :] == [
        "Start on one machine with 3 cores or more",
        "  ulimit -n 84020",
        "  perfload run SCENARIO load_test --host URL --time-scale 60 --processes 3",
        "Start on several machines that share a key (`perfload cluster keygen`): a master",
        "  locust -f locustfiles/SCENARIO.py,shapes/load_test.py --headless --host URL --time-scale 60 \\",
        "    --master --expect-workers 3 --master-bind-host ADDRESS",
        "and 3 workers",
        "  ulimit -n 84020",
        "  locust -f locustfiles/SCENARIO.py,shapes/load_test.py --worker --master-host ADDRESS",
    ]


def test_every_limit_that_is_passed_is_named_with_what_helps() -> None:
    shown = " ".join(lines(load(500)))
    assert "Not enough open files of a worker. What helps: `ulimit -n` before" in shown
    # 500 x (3 + 60 + 60) of 28,232
    assert "Not enough ports to the target. What helps: 3 addresses, of worker machines or" in shown
    assert "The nearest limit" not in shown


def test_the_nearest_limit_may_be_the_ports() -> None:
    capacity = estimate(Plan([Phase(name="Load", duration="10m", arrival_rate=300)]), Visit(), stall_s=0.0)
    shown = " ".join(lines(capacity))
    assert "The nearest limit: ports to the target. What helps: more addresses, of worker" in shown


def test_there_is_help_for_every_limit() -> None:
    assert {limit.name for limit in load(4_000).limits} == page.BEYOND.keys()


def test_few_files_need_no_limit() -> None:
    shown = lines(load(10))
    assert shown[-2:] == ["Start", "  perfload run SCENARIO load_test --host URL"]


@pytest.mark.parametrize(
    ("assumed", "words"),
    [
        ({"duration_s", "requests"}, "lasts 3 s (assumed) and makes 2 requests (assumed). Say what"),
        ({"requests"}, "lasts 3 s and makes 2 requests (assumed). Say what"),
        ({}, "lasts 3 s and makes 2 requests. In a stall"),
    ],
)
def test_what_nobody_gave_is_said_to_be_assumed(assumed: set[str], words: str) -> None:
    assert words in " ".join(lines(load(1), assumed=frozenset(assumed), width=120))


def test_a_visit_of_one_request_over_tls() -> None:
    shown = lines(reckoned(requests=1.0, has_tls=True))
    assert shown[1].startswith("  A visit lasts 3 s and makes 1 request, over TLS.")


def test_the_cpu_of_a_visit_is_shown_where_it_was_measured() -> None:
    assert " It took 1.23 ms of a worker's CPU. In a stall" in " ".join(
        lines(reckoned(cpu_us=1_234.0), width=120)
    )
    assert "CPU." not in lines(reckoned())[1]


def test_a_closed_phase_and_a_pause_have_no_arrivals() -> None:
    shown = lines(
        reckoned(
            Phase(name="Desks", duration="10m", users=1, ramp_to_users=100),
            Phase(name="Break", duration="1m", pause=True),
        )
    )
    assert shown[0] == "load_test: 11 min"
    rows = {line.split()[0]: line.split()[1:] for line in shown if line.startswith(("  Desks", "  Break"))}
    assert rows == {
        "Desks": [NOTHING, NOTHING, "66.7", "100", "100", "0.33", "%"],
        "Break": [NOTHING, NOTHING, "0", "0", "0", "0", "%"],
    }


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_lines_fit_into_the_terminal(width: int) -> None:
    capacity = estimate(Plan(LOAD_TEST), Visit(), costs=COSTS)
    shown = lines(capacity, assumed=frozenset({"duration_s", "requests"}), width=width)
    widest = max(columns_of(line) for line in shown)
    assert min(width, 120) - 15 < widest <= min(width, 120)


def test_how_long_a_phase_lasts_is_shown_where_there_is_room() -> None:
    assert "lasts" in lines(load(1), width=100)[4]
    assert "lasts" not in lines(load(1), width=80)[4]


def test_a_name_cannot_command_the_terminal() -> None:
    shown = lines(reckoned(Phase(name="\x1b[31mred\n", duration="1m", arrival_rate=1)))
    assert any(line.startswith("  \\x1b[31mred\\n ") for line in shown)
