from perfload.capacity import STALL_S
from perfload.load.http import Timeouts


def test_a_plan_is_ready_for_a_stall_as_long_as_the_client_waits() -> None:
    assert Timeouts().first_byte_s == STALL_S
