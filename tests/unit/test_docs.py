"""The documentation is held against the code: what exists is described, and what is described exists."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfload.analysis import schema
from perfload.capacity import Capacity, Limit, PhaseNeed, Visit
from perfload.cli.main import TO_LOCUST, VERBS, build_parser
from perfload.codec import encode_window
from perfload.costs import COSTS, Costs
from perfload.errors import ExitCode
from perfload.histogram import Histogram
from perfload.model import (
    SCHEMA_VERSION,
    AnyWindow,
    ArrivalWindow,
    Manifest,
    MetricWindow,
    NodeEvent,
    NodeRecord,
    Phase,
    PhaseSpan,
    StageWindow,
    Window,
)
from perfload.options import FLAG_KEYS, STOP_TIMEOUT_S, add_options

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "reports" / "README.md"])

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
REPOSITORY_PATH = re.compile(r"(?<![\w./-])(?:perfload|docs|locustfiles|shapes|data|tests)/[\w./-]*")
HEADING = re.compile(r"^#+ +(?P<title>.+)$", re.MULTILINE)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    """Return what stands under the level-two heading `title`, up to the next one."""
    _, found, rest = text.partition(f"\n## {title}\n")
    assert found, f"no heading {title!r}"
    return rest.partition("\n## ")[0]


def mentions(text: str, word: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def first_cells(text: str) -> str:
    """Return the first cell of every table row: that is where a thing is described, not merely mentioned."""
    return "\n".join(re.findall(r"^\| *([^|]+?) *\|", text, re.MULTILINE))


def code_blocks(*languages: str) -> list[object]:
    """Return a parameter per fenced block in one of `languages`: its body; its id is page and line."""
    blocks = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for block in FENCE.finditer(text):
            if block["language"] in languages:
                line = text.count("\n", 0, block.start()) + 1
                blocks.append(pytest.param(block["body"], id=f"{name_of(path)}:{line}"))
    return blocks


def without_fences(text: str) -> str:
    return FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """Return the anchors that a Markdown page's headings get on GitHub."""
    titles = [re.sub(r"[`*]", "", heading["title"]) for heading in HEADING.finditer(without_fences(text))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# --- commands, options, exit codes


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def verbs() -> dict[str, argparse.ArgumentParser]:
    return commands_of(build_parser())


def options_of(parser: argparse.ArgumentParser) -> list[str]:
    long = [word for action in parser._actions for word in action.option_strings if word.startswith("--")]
    return [word for word in long if word != "--help"]


def test_every_verb_is_described():
    assert verbs().keys() == VERBS.keys()
    missing = [verb for verb in VERBS if f"`perfload {verb}`" not in first_cells(page("running.md"))]
    assert missing == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_a_verb_is_described(verb):
    text = page("running.md") + (page("target.md") + page("ai-emulator.md") if verb == "target" else "")
    options = options_of(verbs()[verb])
    commands = [f"perfload {verb} {name}" for name in commands_of(verbs()[verb])]
    assert options or commands, f"perfload {verb} has no options: the test looks in the wrong place"
    assert [name for name in (*options, *commands) if not mentions(text, name)] == []


def locust_options() -> list[str]:
    """Return the options that perfload adds to Locust."""
    parser = argparse.ArgumentParser(add_help=False)
    add_options(parser)
    return options_of(parser)


def test_every_option_of_locust_that_perfload_adds_is_described():
    options = locust_options()
    assert {f"--{key.replace('_', '-')}" for key in FLAG_KEYS} <= set(options)
    described = first_cells(section(page("running.md"), "Options of `locust` with a perfload scenario"))
    assert [option for option in options if not mentions(described, option)] == []


def test_the_stop_timeout_is_the_one_described():
    assert re.search(
        rf"^\| `--stop-timeout SECONDS` \| {STOP_TIMEOUT_S:g} s \|", page("running.md"), re.MULTILINE
    )


def test_every_exit_code_is_described():
    rows = first_cells(section(page("running.md"), "Exit codes")).splitlines()
    assert [row for row in rows if row.isdigit()] == [str(int(code)) for code in sorted(ExitCode)]


# --- fields


def fields_of(kind: type, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all fields of a TypedDict. Those of a `Spread` are described once for all."""
    for name, held in typing.get_type_hints(kind).items():
        yield prefix + name
        is_list = typing.get_origin(held) is list
        # The item of a list, and what is there if it is not None.
        item = next(iter(typing.get_args(held)), held)
        if typing.is_typeddict(item) and item is not schema.Spread:
            yield from fields_of(item, f"{prefix}{name}{'[]' if is_list else ''}.")


def undescribed(names: Iterator[str], text: str) -> list[str]:
    described = first_cells(text)
    return [name for name in names if f"`{name}`" not in described]


def test_every_field_of_the_summary_is_described():
    text = section(page("record.md"), "summary.json")
    assert undescribed(fields_of(schema.Summary), text) == []
    assert undescribed(fields_of(schema.Spread), text) == []


def test_every_field_of_the_manifest_is_described():
    names = [field.name for field in dataclasses.fields(Manifest)]
    names += [f"phases[].{field.name}" for field in dataclasses.fields(PhaseSpan)]
    names += [f"nodes[].{field.name}" for field in dataclasses.fields(NodeRecord)]
    names += [f"events[].{field.name}" for field in dataclasses.fields(NodeEvent)]
    assert undescribed(iter(names), section(page("record.md"), "run.json")) == []


EMPTY = Histogram()
WINDOWS: tuple[AnyWindow, ...] = (
    Window("run", "local", 0, "Phase", "GET", "/", EMPTY, EMPTY, EMPTY),
    ArrivalWindow("run", "local", 0, "Phase", EMPTY),
    MetricWindow("run", "local", 0, "Phase", "metric", "ms", EMPTY),
    StageWindow("run", "local", 0, "Phase", "GET", "/", ()),
)


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: type(window).__name__)
def test_every_field_of_a_window_is_described(window):
    text = section(page("record.md"), "windows.jsonl")
    encoded = encode_window(window)
    row = next(line for line in text.splitlines() if line.startswith(f"| `{encoded['kind']}` |"))
    common = text.partition("\n| ")[0]
    assert [name for name in encoded if f"`{name}`" not in common + row] == []


def test_no_field_is_described_that_does_not_exist():
    rows = re.findall(r"^\| `([\w.\[\]]+)` \|", section(page("record.md"), "summary.json"), re.MULTILINE)
    assert set(rows) == set(fields_of(schema.Summary))


def test_the_schema_version_is_the_one_described():
    assert f"`schema`, now {SCHEMA_VERSION}." in page("record.md")


def test_every_field_of_a_plan_as_json_is_described():
    kinds = {"": Capacity, "visit.": Visit, "costs.": Costs, "phases[].": PhaseNeed, "limits[].": Limit}
    names = [f"{prefix}{field.name}" for prefix, kind in kinds.items() for field in dataclasses.fields(kind)]
    assert undescribed(iter(names), page("scaling.md")) == []


def test_the_costs_of_a_plan_are_those_described():
    rows = re.findall(r"^\| `costs\.(\w+)` \| ([\d.,]+) \|", page("scaling.md"), re.MULTILINE)
    assert {name: float(value.replace(",", "")) for name, value in rows} == dataclasses.asdict(COSTS)


def test_every_option_of_a_phase_is_described():
    options = [field.name for field in dataclasses.fields(Phase) if field.init]
    assert undescribed(iter(options), section(page("shapes.md"), "Options of a phase")) == []


# --- links, paths, examples


def test_there_are_pages():
    assert DOCS / "README.md" in PAGES
    assert len(PAGES) > 5


def test_every_page_is_in_the_index():
    index = {link["target"] for link in LINK.finditer(page("README.md"))}
    assert {path.name for path in DOCS.glob("*.md")} - {"README.md"} == index


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_somewhere(path):
    broken = []
    for link in LINK.finditer(without_fences(path.read_text(encoding="utf-8"))):
        target, _, anchor = link["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = path.parent / target if target else path
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(link["target"])
    assert broken == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_paths_exist(path):
    text = path.read_text(encoding="utf-8")
    code = [block["body"] for block in FENCE.finditer(text)]
    code += re.findall(r"`([^`\n]+)`", without_fences(text))
    found = {match.group() for part in code for match in REPOSITORY_PATH.finditer(part)}
    assert sorted(name for name in found if not (ROOT / name).exists()) == []


@pytest.mark.parametrize("source", code_blocks("python", "py"))
def test_python_compiles(source):
    compile(source, "example", "exec")


@pytest.mark.parametrize("source", code_blocks("toml"))
def test_toml_parses(source):
    tomllib.loads(source)


@pytest.mark.parametrize("source", code_blocks("bash", "sh"))
def test_perfload_commands_are_understood(source):
    lines = [line for line in source.splitlines() if line.startswith("perfload ")]
    for line in lines:
        parsed, rest = build_parser().parse_known_args(shlex.split(line, comments=True)[1:])
        assert parsed.verb in TO_LOCUST or rest == [], line


def test_the_stall_prints_what_the_page_says(capsys):
    example = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", page("numbers.md"), re.DOTALL)
    assert example is not None
    exec(compile(example[1], "docs/numbers.md", "exec"), {})
    assert capsys.readouterr().out == example[2]
