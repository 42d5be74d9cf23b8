"""Traces as they are published, and as they should not be."""

import gzip
import json
import math
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload import trace
from perfload.errors import UsageError
from perfload.trace import BLOCK_TOKENS, TraceRequest, read_trace

pytestmark = pytest.mark.ai

MOONCAKE = """\
{"timestamp": 27000, "input_length": 1100, "output_length": 52, "hash_ids": [46, 47, 2300]}
{"timestamp": 27000, "input_length": 12, "output_length": 3}
{"timestamp": 30053, "input_length": 600, "output_length": 26, "hash_ids": [46, 2400]}
"""
BURSTGPT = """\
Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,470,20,490,Conversation log
45,GPT-4,1080,0,1080,API log
118,ChatGPT,410,280,690,Conversation log
"""
BURSTGPT_3 = """\
Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5.5,,1.25,ChatGPT,470,20,490,API log
6.0,a-7,2.5,GPT-4,1080,240,1320,Conversation log
"""
AZURE_2023 = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 12:00:03.9800000,4800,12
2023-11-16 12:00:04.0320000,3100,8
2023-11-17 12:00:03.9800001,110,27
"""
AZURE_2024 = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009900+00:00,2100,5
2024-05-10 02:00:01+02:00,2400,6
"""
AZURE_2025 = """\
TIMESTAMP,NumImages,ContextTokens,GeneratedTokens
2024-10-15 00:00:00.000000,2,900,40
2024-10-15 00:00:01.500000,0,30,50
"""
QUOTED = '"at_s","who, if known","input_tokens","output_tokens"\n0,"a, b",600,120\n'
PLAIN = "\ufeffInput_Tokens, output_tokens,at_s\r\n600,120,0.25\r\n\r\n601,121.0,1.25"

R = TraceRequest


@pytest.mark.parametrize(
    ("text", "requests", "duration_s"),
    [
        (
            MOONCAKE,
            [R(0, 1100, 52, (46, 47, 2300)), R(0, 12, 3), R(3.053, 600, 26, (46, 2400))],
            4,
        ),
        (BURSTGPT, [R(0, 470, 20), R(40, 1080, 1), R(113, 410, 280)], 114),
        (BURSTGPT_3, [R(0, 470, 20), R(0.5, 1080, 240)], 1),
        (AZURE_2023, [R(0, 4800, 12), R(0.052, 3100, 8), R(86400, 110, 27)], 86401),
        (AZURE_2024, [R(0, 2100, 5), R(0.9901, 2400, 6)], 1),
        (AZURE_2025, [R(0, 900, 40), R(1.5, 30, 50)], 2),
        (QUOTED, [R(0, 600, 120)], 1),
        (PLAIN, [R(0, 600, 120), R(1, 601, 121)], 2),
    ],
    ids=["Mooncake", "BurstGPT", "BurstGPT 3", "Azure 2023", "Azure 2024", "Azure 2025", "quoted", "plain"],
)
@pytest.mark.parametrize("name", ["a.txt", "a.gz"])
def test_a_format_is_known_by_what_stands_in_the_file(
    tmp_path: Path, name: str, text: str, requests: list[TraceRequest], duration_s: float
) -> None:
    path = tmp_path / name
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    found = read_trace(path)
    assert found.requests == tuple(requests)
    assert found.duration_s == duration_s


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace"


def plain(*times_s: float) -> str:
    """Return a trace in which the input's length is the number of the line, from 1."""
    rows = [f"{time_s!r},{number},{number + 100}\n" for number, time_s in enumerate(times_s, start=1)]
    return "at_s,input_tokens,output_tokens\n" + "".join(rows)


def starts(path: Path, start_s: float, duration_s: float | None) -> list[tuple[float, int]]:
    found = read_trace(path, start_s=start_s, duration_s=duration_s)
    return [(request.at_s, request.input_tokens) for request in found.requests]


def test_a_window_has_its_own_zero_and_leaves_its_end_out(path: Path) -> None:
    path.write_text(plain(100, 110, 111.5, 120, 150))
    assert starts(path, 10, 10) == [(0, 2), (1.5, 3)]
    assert starts(path, 10.5, None) == [(1, 3), (9.5, 4), (39.5, 5)]
    assert read_trace(path, start_s=10, duration_s=10).duration_s == 10
    assert read_trace(path, start_s=10).duration_s == 41


def test_the_ends_of_a_window_are_exact(path: Path) -> None:
    path.write_text(plain(0, 0.1, 0.2, 0.299999, 0.3, 9))
    assert starts(path, 0.1, 0.2) == [(0, 2), (0.1, 3), (0.199999, 4)]  # 0.1 + 0.2 is more than 0.3
    found = read_trace(path, start_s=4e-7, duration_s=0.2999998)
    assert found.requests[-1].at_s <= found.duration_s


def test_a_window_ends_with_the_trace_at_the_latest(path: Path) -> None:
    path.write_text(plain(100, 110, 111.5))
    assert read_trace(path, duration_s=3600).duration_s == 12
    assert read_trace(path, start_s=10, duration_s=3600).duration_s == 2


def test_lines_may_be_out_of_order_even_the_first(path: Path) -> None:
    path.write_text(plain(30, 20, 40, 20, 10))
    assert starts(path, 0, None) == [(0, 5), (10, 2), (10, 4), (20, 1), (30, 3)]
    assert starts(path, 5, 20) == [(5, 2), (5, 4), (15, 1)]


@given(st.lists(st.integers(0, 10**7), min_size=1), st.integers(0, 12), st.integers(1, 12))
def test_a_window_holds_just_what_lies_in_it(
    tmp_path_factory: pytest.TempPathFactory, times_ms: list[int], start_s: int, length_s: int
) -> None:
    path = tmp_path_factory.mktemp("traces") / "trace"
    path.write_text(
        "".join(
            json.dumps({"timestamp": at, "input_length": 9, "output_length": 1}) + "\n" for at in times_ms
        )
    )
    first = min(times_ms)
    inside = sorted(at - first - 1000 * start_s for at in times_ms)
    inside = [at for at in inside if 0 <= at < 1000 * length_s]
    if not inside:
        with pytest.raises(UsageError, match=f"has no request from {start_s} s on for {length_s} s"):
            read_trace(path, start_s=start_s, duration_s=length_s)
        return
    found = read_trace(path, start_s=start_s, duration_s=length_s)
    assert [round(request.at_s * 1000) for request in found.requests] == inside
    assert inside[-1] / 1000 <= found.duration_s <= length_s


def test_of_lines_outside_the_window_only_the_time_is_looked_at(path: Path) -> None:
    path.write_text(plain(0, 10) + "5,no,no\n")
    assert starts(path, 6, None) == [(4, 2)]
    with pytest.raises(UsageError, match="line 4: 'no' is no count of tokens"):
        read_trace(path)


def test_the_digest_is_that_of_the_requests_and_not_of_the_file(path: Path, tmp_path: Path) -> None:
    path.write_text(plain(0, 10, 20))
    other = tmp_path / "other"
    other.write_text(plain(0, 10, 20).replace("\n", "\r\n"))
    assert read_trace(path) == read_trace(other)
    assert read_trace(path, duration_s=15).digest != read_trace(path).digest
    other.write_text(plain(0, 10, 20).replace(",103", ",104"))
    assert read_trace(path).digest != read_trace(other).digest
    path.write_text(MOONCAKE)
    other.write_text(MOONCAKE.replace("2400", "2401"))
    assert read_trace(path).digest != read_trace(other).digest


JSON_HINT = 'write {"timestamp"'


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "is no trace: its first line is ''", "or begins with TIMESTAMP,ContextTokens"),
        ("time,in,out\n1,2,3\n", "is no trace: its first line is 'time,in,out'", "holds JSON as Mooncake's"),
        ("\x1b[31m" + "x" * 500, r"is no trace: its first line is '\x1b[31mxxx", "Mooncake"),
        (plain(), "holds no requests", "add a line"),
        (plain(1) + "2,3\n", "line 3: 2 cells, the first line has 3", "write 0.25,600,120"),
        (plain(1) + "noon,3,4\n", "line 3: 'noon' is no time", "write 0.25,600,120"),
        (plain(1) + "nan,3,4\n", "line 3: 'nan' is no time", "write 0.25,600,120"),
        (plain(1) + "1e300,3,4\n", "line 3: '1e300' is no time", "write 0.25,600,120"),
        (plain(1) + "2,-3,4\n", "line 3: '-3' is no count of tokens", "write 0.25,600,120"),
        (plain(1) + "2,3,4.5\n", "line 3: '4.5' is no count of tokens", "write 0.25,600,120"),
        (plain(1) + "2,3,nan\n", "line 3: 'nan' is no count of tokens", "write 0.25,600,120"),
        (plain(1) + "2,99999999999,1\n", "line 3: '99999999999' is no count", "write 0.25,600,120"),
        (plain(1) + '2,"3,4\n', "line 3: unexpected end of data", "write 0.25,600,120"),
        (AZURE_2023 + "yesterday,1,2\n", "line 5: 'yesterday' is no time", "write 2023-11-16 12:00:00"),
        (BURSTGPT + "1,2\n", "line 5: 2 cells, the first line has 6", "write 5,ChatGPT"),
        (MOONCAKE + "[1]\n", "line 4: is no JSON object", JSON_HINT),
        (MOONCAKE + "{\n", "line 4: is no JSON object", JSON_HINT),
        (MOONCAKE + "[" * 100_000, "line 4: is no JSON object", JSON_HINT),
        ('{"timestamp": 1}\n', "line 1: has no input_length and no output_length", JSON_HINT),
        (
            '{"timestamp": "noon", "input_length": 1, "output_length": 1}',
            "line 1: timestamp is 'noon', which are no milliseconds",
            JSON_HINT,
        ),
        (
            '{"timestamp": NaN, "input_length": 1, "output_length": 1}',
            "line 1: timestamp is nan, which are no milliseconds",
            JSON_HINT,
        ),
        (
            f'{{"timestamp": 1{"0" * 400}, "input_length": 1, "output_length": 1}}',
            "line 1: timestamp is 1000",
            JSON_HINT,
        ),
        (
            '{"timestamp": 1, "input_length": true, "output_length": 1}',
            "line 1: input_length is True, which is no count of tokens",
            JSON_HINT,
        ),
        (
            '{"timestamp": 1, "input_length": 1, "output_length": -1}',
            "line 1: output_length is -1, which is no count of tokens",
            JSON_HINT,
        ),
        (
            '{"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": ["a"]}',
            "line 1: hash_ids is no list of whole numbers",
            JSON_HINT,
        ),
        (
            '{"timestamp": 1, "input_length": 512, "output_length": 1, "hash_ids": [1, 2]}',
            "line 1: 2 hash_ids of 512 tokens are more than 512 tokens",
            JSON_HINT,
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(path: Path, text: str, message: str, hint: str) -> None:
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_trace(path)
    assert caught.value.message.startswith(str(path))
    assert message in caught.value.message
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < len(str(path)) + 200
    assert hint in caught.value.hint


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_trace(tmp_path / "nowhere.csv")
    with pytest.raises(UsageError, match="Is a directory"):
        read_trace(tmp_path)
    (tmp_path / "latin").write_bytes(b"at_s,input_tokens,output_tokens\n\xff,1,1\n")
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_trace(tmp_path / "latin")


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-12], lambda data: b"no" + data, lambda data: data[:30]]
)
def test_a_damaged_archive(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "trace.csv.gz"
    assert callable(damage)
    path.write_bytes(damage(gzip.compress(plain(1, 2, 3).encode())))
    with pytest.raises(UsageError, match="cannot be read"):
        read_trace(path)


def test_there_is_a_bound_on_what_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MAX_REQUESTS", 3)
    path.write_text(plain(0, 1, 2, 3))
    with pytest.raises(UsageError, match="holds more than 3 requests there") as caught:
        read_trace(path)
    assert caught.value.hint == "choose a shorter window"
    assert len(read_trace(path, duration_s=3).requests) == 3


def test_a_line_without_an_end_does_not_fill_the_memory(path: Path) -> None:
    path.write_text('{"timestamp": 1, "x": "' + "y" * (3 << 20))
    with pytest.raises(UsageError, match="line 1: is no JSON object"):
        read_trace(path)
    path.write_text(plain(1) + "9" * (3 << 20))
    with pytest.raises(UsageError, match="line 3: "):
        read_trace(path)


# --- the one that ships

SHIPPED = Path(__file__).parents[2] / "data" / "ai_trace.jsonl"


def test_the_shipped_trace_is_what_its_page_says() -> None:
    found = read_trace(SHIPPED)
    assert (len(found.requests), found.duration_s) == (1202, 598)
    assert statistics.median(request.input_tokens for request in found.requests) == 617
    assert statistics.median(request.output_tokens for request in found.requests) == 125
    assert SHIPPED.stat().st_size < 150_000
    assert all(len(r.blocks) == math.ceil(r.input_tokens / BLOCK_TOKENS) for r in found.requests)
    per_second = [0] * 598
    for request in found.requests:
        per_second[int(request.at_s)] += 1
    mean = sum(per_second) / 598
    dispersion = sum((count - mean) ** 2 for count in per_second) / 598 / mean
    assert dispersion == pytest.approx(3.7, abs=0.05)  # of Poisson arrivals it is 1
    assert max(per_second) == 15


def test_requests_of_the_shipped_trace_share_prefixes() -> None:
    seen: set[tuple[int, ...]] = set()
    shared = blocks = 0
    for request in read_trace(SHIPPED).requests:
        prefixes = [request.blocks[: length + 1] for length in range(len(request.blocks))]
        shared += sum(prefix in seen for prefix in prefixes)
        blocks += len(prefixes)
        seen.update(prefixes)
    assert shared / blocks == pytest.approx(0.29, abs=0.01)
