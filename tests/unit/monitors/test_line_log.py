import resource
import shutil
from pathlib import Path

import pytest

from perfload.monitors.log import LineLog

FIRST, SECOND, THIRD = ('{"at_s":0}', '{"at_s":1,"value":"second"}', '{"at_s":2}')


def lines(*written: str) -> str:
    return "".join(f"{line}\n" for line in written)


def test_appends_to_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "readings.jsonl"
    out.write_text("from elsewhere\n")
    told: list[str] = []
    log = LineLog(out, tell=told.append)
    log.append([FIRST, SECOND])
    log.append([THIRD])
    assert out.read_text() == "from elsewhere\n" + lines(FIRST, SECOND, THIRD)
    assert told == []


def test_a_folder_that_vanishes_and_comes_back_is_told_once_each(tmp_path: Path) -> None:
    out = tmp_path / "run" / "readings.jsonl"
    out.parent.mkdir()
    told: list[str] = []
    log = LineLog(out, tell=told.append)
    log.append([FIRST])
    shutil.rmtree(out.parent)
    log.append([FIRST, SECOND])
    log.append([THIRD])
    assert told == [f"cannot write to {out}: No such file or directory; what comes in is lost until it works"]
    assert not out.parent.exists()
    out.parent.mkdir()
    log.append([THIRD])
    assert told[1:] == [f"writes to {out} again; lines lost: 3"]
    assert out.read_text() == lines(THIRD)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_is_told_once() -> None:
    told: list[str] = []
    log = LineLog(Path("/dev/full"), tell=told.append)
    for _ in range(3):
        log.append([FIRST])
    reason = "No space left on device"
    assert told == [f"cannot write to /dev/full: {reason}; what comes in is lost until it works"]


def test_a_line_that_the_disk_cut_short_does_not_swallow_the_next(tmp_path: Path) -> None:
    out = tmp_path / "readings.jsonl"
    told: list[str] = []
    log = LineLog(out, tell=told.append)
    whole = lines(FIRST)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, hard))
    try:
        log.append([FIRST, SECOND])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.append([THIRD])
    assert out.read_text() == whole + lines(SECOND)[:10] + "\n" + lines(THIRD)
    assert told[1] == f"writes to {out} again; lines lost: 1"
