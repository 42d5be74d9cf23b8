"""What is recorded of an answer, value by value."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from perfload.errors import UsageError
from perfload.load.ai import Lengths, Objectives, PromptFile, SyntheticPrompts
from perfload.load.ai.answer import Answer, Usage
from perfload.load.ai.budget import Budget, Cap
from perfload.load.ai.figures import FINISH_REASONS, figures_of, figures_of_attempt
from perfload.load.ai.objectives import PRESETS
from perfload.load.ai.prices import Price, PriceTable
from perfload.load.ai.standing import Standing
from perfload.recorder import Recorder
from perfload.report.ai_metrics import KNOWN

pytestmark = pytest.mark.ai

MS = 1_000_000


def an_answer(output_tokens: int | None = 5) -> Answer:
    """Thinking after 100 ms, content after 150 and 160; 5 tokens in 3 pieces."""
    answer = Answer(sent_ns=1000 * MS, usage=Usage(20, output_tokens, 8, 2), finish_reason="length")
    for channel, at_ms in (("reasoning", 1100), ("content", 1150), ("content", 1160)):
        answer.add(channel, "x", at_ms * MS)  # type: ignore[arg-type]  # a channel
    answer.is_whole = True
    answer.end(1200 * MS)
    return answer


def recorded(answer: Answer, **terms: object) -> dict[str, tuple[str, list[float]]]:
    return {f.metric: (f.unit, list(f.values)) for f in figures_of(answer, **terms)}  # type: ignore[arg-type]


def test_all_of_an_answer() -> None:
    assert recorded(an_answer(), price=Price(1, 2, 0.5), objectives=Objectives(ttft_ms=100, e2e_ms=160)) == {
        "ttft": ("ms", [100.0]),
        "ttfo": ("ms", [150.0]),
        "ttft_input_16": ("ms", [100.0]),
        "tpot": ("ms", [15.0]),
        "icl": ("ms", [50.0, 10.0]),
        "e2e": ("ms", [160.0]),
        "input_tokens": ("tokens", [20]),
        "cached_tokens": ("tokens", [8]),
        "output_tokens": ("tokens", [5]),
        "reasoning_tokens": ("tokens", [2]),
        "tokens_per_chunk": ("tokens", [pytest.approx(5 / 3)]),
        "output_tokens_per_s": ("tokens/s", [pytest.approx(31.25)]),
        "input_tokens_per_s": ("tokens/s", [pytest.approx(200)]),
        "finish_length": ("answers", [1]),
        "cost": ("millionths", [pytest.approx(12 + 4 + 10)]),
        "good": ("%", [100]),
    }


@pytest.mark.parametrize(
    ("tokens", "name"),
    [
        (0, "ttft_input_1"),
        (1, "ttft_input_1"),
        (511, "ttft_input_256"),
        (512, "ttft_input_512"),
        (1023, "ttft_input_512"),
        (1 << 20, "ttft_input_1048576"),
        (1 << 62, "ttft_input_1048576"),
    ],
)
def test_the_first_token_is_also_counted_by_the_length_of_the_input(tokens: int, name: str) -> None:
    answer = an_answer()
    answer.usage.input_tokens = tokens
    by_length = {key: found for key, found in recorded(answer).items() if key.startswith("ttft_input_")}
    assert by_length == {name: ("ms", [100.0])}


def test_an_answer_that_came_at_once_has_no_first_token_of_any_length() -> None:
    answer = an_answer()
    answer.is_streamed = False
    assert not [name for name in recorded(answer) if name.startswith("ttft")]


def test_the_report_knows_every_metric() -> None:
    answer, failed = an_answer(), an_answer(None)
    failed.status = 429
    answer.read_delay_ns = [1_000_000] * 3
    answer.status = 200
    found = {*recorded(answer, price=Price(1, 2, 1), objectives=Objectives()), *recorded(failed)}
    for exponent in range(25):
        answer.usage.input_tokens = 1 << exponent
        found |= recorded(answer).keys()
    for reason in ("", *FINISH_REASONS):
        answer.finish_reason = reason
        found |= recorded(answer).keys()
    found |= {figure.metric for figure in figures_of_attempt(failed, Standing(1, 2))}
    assert found <= KNOWN
    assert KNOWN - found == {"retries"}  # recorded by the user, who makes the requests


def test_an_answer_that_nobody_counted_has_no_times_per_token() -> None:
    answer = an_answer(None)
    answer.usage = Usage()
    assert recorded(answer, price=Price(1, 2, 0.5)) == {
        "ttft": ("ms", [100.0]),
        "ttfo": ("ms", [150.0]),
        "icl": ("ms", [50.0, 10.0]),
        "e2e": ("ms", [160.0]),
        "finish_length": ("answers", [1]),
        "uncounted_answers": ("answers", [1]),
    }


def test_a_failed_answer_is_in_no_latency() -> None:
    answer = an_answer()
    answer.fail("stream ended early")
    assert recorded(answer, objectives=Objectives(ttft_ms=5000)) == {"good": ("%", [0])}


def test_how_late_pieces_were_read_is_recorded_where_the_kernel_says_so() -> None:
    answer = an_answer()
    answer.read_delay_ns = [0, 0, 0]
    assert "read_delay" not in recorded(answer)
    answer.read_delay_ns = [100_000, 0, 2_500_000]
    assert recorded(answer)["read_delay"] == ("ms", [0.1, 0.0, 2.5])


@pytest.mark.parametrize(
    ("piece_ns", "delay_ns", "blurred"),
    [
        ([7, 7, 9], [1_500_000] * 3, 100),
        ([7, 7, 9], [900_000] * 3, 0),  # sent together, and read in time
        ([7, 9, 9], [1_500_000] * 3, 0),
        ([7], [1_500_000], 0),
    ],
)
def test_a_first_piece_read_with_the_second_is_blurred(
    piece_ns: list[int], delay_ns: list[int], blurred: int
) -> None:
    answer = an_answer()
    answer.piece_ns = [1100 * MS + at_ns for at_ns in piece_ns]
    answer.read_delay_ns = delay_ns
    assert recorded(answer)["blurred"] == ("%", [blurred])


def test_a_stamp_that_goes_back_makes_no_negative_gap() -> None:
    answer = Answer(0)
    for at_ns in (5000, 4000, 6000):
        answer.add("content", "x", at_ns)
    assert answer.gaps_ms == [0.0, 0.001]


@pytest.mark.parametrize(
    ("objectives", "is_met"),
    [
        (Objectives(100, 15, 160), True),
        (Objectives(99.9), False),
        (Objectives(tpot_ms=14.9), False),
        (Objectives(e2e_ms=159), False),
        (Objectives(), True),
        (PRESETS["llama2-70b-interactive"], True),
    ],
)
def test_objectives_are_met_all_of_them_or_not(objectives: Objectives, is_met: bool) -> None:
    assert objectives.are_met(an_answer()) is is_met


@pytest.mark.parametrize(("tokens", "is_met"), [(1, True), (None, False), (2, False)])
def test_a_time_per_token_that_is_not_there(tokens: int | None, is_met: bool) -> None:
    assert Objectives(tpot_ms=50).are_met(an_answer(tokens)) is is_met


def test_the_presets_are_those_of_mlperf() -> None:
    assert {name: (p.ttft_ms, p.tpot_ms, p.e2e_ms) for name, p in PRESETS.items()} == {
        "llama2-70b": (2000, 200, None),
        "llama2-70b-interactive": (450, 40, None),
        "llama3.1-8b": (2000, 100, None),
        "llama3.1-8b-interactive": (500, 30, None),
        "llama3.1-405b": (6000, 175, None),
        "llama3.1-405b-interactive": (4500, 80, None),
        "mixtral-8x7b": (2000, 200, None),
        "deepseek-r1": (2000, 80, None),
        "deepseek-r1-interactive": (1500, 15, None),
        "gpt-oss-120b": (3000, 80, None),
        "gpt-oss-120b-interactive": (2000, 15, None),
        "qwen3-vl-235b-a22b": (None, None, 12_000),
    }
    with pytest.raises(UsageError, match="0"):
        Objectives(ttft_ms=0)


def test_many_values_at_once_are_as_many_values_one_by_one() -> None:
    at_once, one_by_one = Recorder("run", "a"), Recorder("run", "a")
    values = [20.0015, 0.0, 3000.7, 20.0015]
    at_once.metrics(3, "Load", "icl", "ms", values)
    for value in values:
        one_by_one.metric(3, "Load", "icl", "ms", value)
    assert at_once.take() == one_by_one.take()


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf")])
def test_one_wrong_value_keeps_all_out(wrong: float) -> None:
    recorder = Recorder("run", "a")
    with pytest.raises(UsageError):
        recorder.metrics(3, "Load", "icl", "ms", [1.0, wrong])
    assert recorder.take() == []


# --- prices, caps, limits


def test_the_longest_name_that_fits_has_the_price() -> None:
    table = PriceTable({"gpt*": {"input": 1, "output": 1}, "gpt-4*": {"input": 2, "output": 2, "cached": 0}})
    assert table.of("gpt-4o") == Price(2.0, 2.0, 0.0)
    assert table.of("gpt-3") == Price(1.0, 1.0, 1.0)
    assert table.of("other") is None


def test_prices_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"m": {"input": 1, "output": 2}}))
    assert PriceTable.read(path).of("m") == Price(1.0, 2.0, 1.0)
    path.write_text("[]")
    with pytest.raises(UsageError, match="no table of prices"):
        PriceTable.read(path)


def test_more_cached_than_sent_costs_no_less_than_nothing() -> None:
    assert Price(10, 0, 1).cost_of(Usage(5, 0, 50)) == pytest.approx(5e-6)
    assert Price(10, 0, 1).cost_of(Usage()) is None


def test_the_lower_of_two_caps_counts() -> None:
    assert Cap.of(4.0, 100).lowest(Cap(2.5)) == Cap(2.5, 100)
    budget = Budget()
    assert budget.excess(Cap()) == ""
    budget.spend(25, 0.0)
    assert budget.excess(Cap(tokens=25)) == "25 tokens used, of 25 at most"
    with pytest.raises(UsageError, match="max_tokens_total is -1"):
        Cap.of(None, -1)


@pytest.mark.parametrize(
    ("headers", "standing"),
    [
        ({}, Standing()),
        (
            {
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-remaining-tokens": "149984",
                "retry-after": "2",
            },
            Standing(59, 149984, 2.0),
        ),
        (
            {
                "anthropic-ratelimit-requests-remaining": "4",
                "anthropic-ratelimit-tokens-remaining": "8",
                "retry-after-ms": "250",
            },
            Standing(4, 8, 0.25),
        ),
        (
            {"x-ratelimit-remaining-requests": "-1", "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"},
            Standing(),
        ),
        ({"x-ratelimit-remaining-tokens": "nan", "retry-after": "1e99"}, Standing()),
    ],
)
def test_what_headers_say_of_limits(headers: dict[str, str], standing: Standing) -> None:
    assert Standing.of(headers) == standing


# --- prompts


def test_prompts_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "A", "weight": 3}\n\n{"turns": ["B", "C"], "system": "S", "max_tokens": 9}\n')
    prompts = PromptFile(path)
    assert [(p.turns, p.text, p.system, p.max_tokens) for p in prompts.prompts] == [
        (("A",), "A", "", None),
        (("B", "C"), "B", "S", 9),
    ]
    random = Random(1)
    picked = [prompts.pick(random).text for _ in range(4000)]
    assert 2800 < picked.count("A") < 3200


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "{}",
        '{"prompt": ""}',
        '{"turns": []}',
        '{"prompt": "a", "x": 1}',
        '{"prompt": "a", "weight": 0}',
    ],
)
def test_a_line_that_is_no_prompt_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "A"}\n' + line)
    with pytest.raises(UsageError, match="line 2 is no prompt"):
        PromptFile(path)


def test_lengths_have_their_median_and_their_bounds() -> None:
    random = Random(3)
    drawn = sorted(Lengths(200, 0.5, lowest=50, highest=800).draw(random) for _ in range(4001))
    assert 190 < drawn[2000] < 210
    assert 50 <= drawn[0] < 60
    assert 700 < drawn[-1] <= 800
    assert Lengths(7).draw(random) == 7


def test_synthetic_prompts_share_their_prefix() -> None:
    def prompts(seed: int) -> SyntheticPrompts:
        return SyntheticPrompts(Lengths(30), shared_prefix=20, output=Lengths(5), seed=seed)

    random = Random(5)
    first, second = (prompts(1).pick(random) for _ in range(2))
    words = [p.text.split() for p in (first, second)]
    assert [len(w) for w in words] == [30, 30]
    assert words[0][:20] == words[1][:20]
    assert words[0][20:] != words[1][20:]
    assert first.max_tokens == 5
    assert prompts(2).pick(random).text.split()[:20] != words[0][:20]
