from collections.abc import Sequence

from perfload.monitors.base import Found, Measurement
from perfload.monitors.mongodb.parts import ASK_AGAIN_S, Moment, PacedPart, of_node
from perfload.monitors.mongodb.server_commands import CommandFailed, Commands, CommandUnknown
from tests.unit.monitors.mongodb.answers import REFUSED, Answers, reasons, values


class Depth:
    metrics: Sequence[tuple[str, str]] = (("depth", "m"), ("speed", "m/s"))
    needs = "the role clusterMonitor"

    def __init__(self, every_s: float = 0.0) -> None:
        self.every_s = every_s

    def read(self, commands: Commands, moment: Moment) -> Found:
        answer = commands.run({"sound": 1})
        return [Measurement("depth", "m", answer["depth"])]


def test_what_is_refused_says_so_at_every_tick_and_is_asked_for_now_and_then() -> None:
    answers, part = Answers({"sound": REFUSED}), PacedPart(Depth())
    reason = "the user may not do this; needs the role clusterMonitor"
    for at_s in (100.0, 101.0, 100.0 + ASK_AGAIN_S - 1):
        found = part.read(answers, Moment(at_s, "a"))
        assert values(found) == {"depth": None, "speed": None}
        assert reasons(found) == {"depth": reason, "speed": reason}
    assert len(answers.asked) == 1
    answers.answers["sound"] = {"depth": 4.0}
    assert values(part.read(answers, Moment(100.0 + ASK_AGAIN_S, "a"))) == {"depth": 4.0}
    assert values(part.read(answers, Moment(101.0 + ASK_AGAIN_S, "a"))) == {"depth": 4.0}


def test_what_a_server_does_not_have_no_role_would_allow() -> None:
    part = PacedPart(Depth())
    found = part.read(Answers({"sound": CommandUnknown("this server does not support it")}), Moment(1.0, "a"))
    assert reasons(found)["depth"] == "this server does not support it"


def test_what_failed_once_is_read_again_at_the_next_tick() -> None:
    answers, part = Answers({"sound": CommandFailed("sound: the lead is gone")}), PacedPart(Depth())
    assert reasons(part.read(answers, Moment(1.0, "a")))["depth"] == "sound: the lead is gone"
    answers.answers["sound"] = {"depth": 4.0}
    assert values(part.read(answers, Moment(2.0, "a"))) == {"depth": 4.0}


def test_a_slow_part_keeps_its_pace_although_ticks_come_early_and_late() -> None:
    answers, part = Answers({"sound": {"depth": 4.0}}), PacedPart(Depth(every_s=2.0))
    read_at_s = [
        at_s
        for at_s in (10.0, 11.01, 11.99, 13.0, 14.02, 15.0, 16.0)
        if part.read(answers, Moment(at_s, "a"))
    ]
    assert read_at_s == [10.0, 11.99, 14.02, 16.0]


def test_everything_gets_the_name_of_the_server() -> None:
    found = of_node([Measurement("depth", "m", 1.0), Measurement("depth", "m", 2.0, node="else")], "db:27017")
    assert [item.node for item in found] == ["db:27017", "else"]
