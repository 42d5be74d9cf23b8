from perfload.histogram import Histogram
from perfload.load.progress import Progress
from perfload.model import ArrivalWindow, PhaseSpan, Reading, Window

SPANS = (
    PhaseSpan("Warm up", 0.0, 60.0, "arrivals", 10.0, 10.0, 600, warmup=True),
    PhaseSpan("Peak", 60.0, 65.0, "arrivals", 100.0, 100.0, 6500),
)


def requests(count: int, failed: int = 0) -> Window:
    latency = Histogram([2_000_000] * (count // 10) + [40_000] * (count - count // 10))
    return Window("run", "local", 0, "Peak", "GET", "/a", latency, latency, Histogram([5] * failed))


def arrivals(count: int) -> ArrivalWindow:
    return ArrivalWindow("run", "local", 0, "Peak", Histogram([100] * count), dropped=3)


def users(node: str, value: float | None) -> Reading:
    return Reading(0.0, node, "generator", "users", "users", value, "" if value is not None else "gone")


def test_a_line_of_an_open_run() -> None:
    progress = Progress(SPANS)
    progress.add([requests(400), arrivals(1_200)], [users("a", 70), users("b", 5), users("a", 71)])
    assert progress.line(4.0) == (
        "00:04/02:05  Warm up  1,200 of 7,100 arrivals  76 users  100 requests/s  p95 2000 ms  no failures"
    )


def test_the_next_line_is_about_what_came_since() -> None:
    progress = Progress(SPANS)
    progress.add([requests(1_990, failed=10), arrivals(100)], [users("a", 7)])
    progress.line(10.0)
    progress.add([requests(8), arrivals(11)], [])
    assert progress.line(62.0) == (
        "01:02/02:05  Peak  111 of 7,100 arrivals  7 users  0 requests/s  p95 40 ms  10 failures (0.50 %)"
    )


def test_without_anything_finished_there_is_no_percentile() -> None:
    progress = Progress(SPANS)
    progress.add([requests(0, failed=2)], [users("a", None)])
    assert progress.line(2.0) == (
        "00:02/02:05  Warm up  0 of 7,100 arrivals  0 users  1 requests/s  2 failures (100.00 %)"
    )


def test_after_the_plan_the_last_users_finish() -> None:
    progress = Progress(SPANS)
    progress.line(120.0)
    assert progress.line(130.0) == (
        "02:10  finishing  0 of 7,100 arrivals  0 users  0 requests/s  no failures"
    )


def test_a_run_without_a_plan_has_neither_end_nor_arrivals() -> None:
    progress = Progress((PhaseSpan("Closed load", 0.0, 0.0, "users", 0.0, 0.0, 0),))
    progress.add([requests(50)], [users("a", 100)])
    assert progress.line(3725.0) == "1:02:05  Closed load  100 users  0 requests/s  p95 2000 ms  no failures"


def test_an_hour_has_its_own_digit() -> None:
    progress = Progress((PhaseSpan("Soak", 0.0, 14_400.0, "arrivals", 1.0, 1.0, 14_400),))
    assert progress.line(59.0).startswith("00:59/4:00:00  Soak  0 of 14,400 arrivals")
