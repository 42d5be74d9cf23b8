"""`sweep.json` as it is described in docs/sweep.md."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path

from perfload.analysis.schema import ThresholdSummary
from perfload.analysis.sweep_plan import SWEEP_SCHEMA
from perfload.analysis.sweep_schema import Percentiles, SweepSummary

PAGE = (Path(__file__).parents[3] / "docs" / "sweep.md").read_text("utf-8")


def fields_of(kind: type, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all fields; thresholds and percentiles are described as a whole."""
    for name, held in typing.get_type_hints(kind).items():
        is_list = typing.get_origin(held) is list
        item = next(iter(typing.get_args(held)), held)
        is_described_whole = item in (ThresholdSummary, Percentiles)
        if typing.is_typeddict(item) and not is_described_whole:
            yield from fields_of(item, f"{prefix}{name}{'[]' if is_list else ''}.")
        else:
            yield prefix + name


def test_every_field_is_described_and_none_that_is_not_there() -> None:
    rows = [row.split("|")[1] for row in PAGE.splitlines() if row.startswith("| `")]
    described = {name for row in rows for name in re.findall(r"`([\w.\[\]]+)`", row)}
    fields = set(fields_of(SweepSummary))
    assert fields - described == set()
    assert {name for name in described if name.startswith(("levels[]", "left_out"))} - fields == {
        "levels[].figures.tokens"
    }


def test_the_version_is_the_one_described() -> None:
    assert f"`schema`, now {SWEEP_SCHEMA}." in PAGE
