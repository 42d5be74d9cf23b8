import threading

from perfload.agent.ring import Ring, Slice
from perfload.monitors.agent.page import MAX_ENTRIES, MAX_PAGE_CHARS


def test_lines_are_numbered_from_one_and_read_from_where_the_reader_was() -> None:
    ring = Ring(keep_s=60)
    assert ring.after(0) == Slice([], 0, 0)
    ring.append(["a", "b"], 1000.0)
    ring.append(["c"], 1001.0)
    assert ring.newest == 3
    assert ring.after(0) == Slice(["a", "b", "c"], 3, 0)
    assert ring.after(2) == Slice(["c"], 3, 0)
    assert ring.after(3) == Slice([], 3, 0)
    # From another life of this agent: nothing is newer.
    assert ring.after(99) == Slice([], 3, 0)


def test_what_is_too_old_is_gone_and_counted() -> None:
    ring = Ring(keep_s=60)
    for second in range(100):
        ring.append([str(second)], 1000.0 + second)
    held = ring.after(0)
    assert (held.lines[0], held.lines[-1], held.next, held.lost) == ("39", "99", 100, 39)
    assert ring.after(50).lost == 0


def test_memory_is_bounded_by_lines_and_by_characters() -> None:
    ring = Ring(keep_s=60, max_lines=3)
    ring.append([*"abcde"], 1000.0)
    assert ring.after(0) == Slice([*"cde"], 5, 2)
    ring = Ring(keep_s=60, max_chars=10)
    ring.append(["x" * 6, "y" * 6, "z" * 4], 1000.0)
    assert ring.after(0) == Slice(["y" * 6, "z" * 4], 3, 1)


def test_a_page_is_bounded_and_the_rest_comes_with_the_next() -> None:
    ring = Ring(keep_s=60)
    ring.append([str(number) for number in range(MAX_ENTRIES + 5)], 1000.0)
    first = ring.after(0)
    assert (len(first.lines), first.next, first.lost) == (MAX_ENTRIES, MAX_ENTRIES, 0)
    assert ring.after(first.next) == Slice(
        [str(MAX_ENTRIES + number) for number in range(5)], MAX_ENTRIES + 5, 0
    )


def test_a_page_of_long_lines_is_bounded_too() -> None:
    ring = Ring(keep_s=60)
    ring.append(["x" * (MAX_PAGE_CHARS // 2)] * 3 + ["y" * (MAX_PAGE_CHARS + 1)], 1000.0)
    assert [ring.after(number).next for number in (0, 2, 3)] == [2, 3, 4]


def test_a_reader_may_wait_for_the_next_line() -> None:
    ring = Ring(keep_s=60)
    found: list[Slice] = []
    reader = threading.Thread(target=lambda: found.append(ring.after(0, wait_s=10)))
    reader.start()
    ring.append(["a"], 1000.0)
    reader.join(5)
    assert found == [Slice(["a"], 1, 0)]
    assert ring.after(1, wait_s=0.01) == Slice([], 1, 0)
