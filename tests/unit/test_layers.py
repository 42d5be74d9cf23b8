"""The layers of perfload, held against the import statements: imports go down, and never sideways."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import perfload

ROOT = Path(perfload.__file__).parent

LAYERS: tuple[tuple[str, ...], ...] = (
    ("cli",),
    ("load", "report", "target", "agent"),
    ("monitors", "analysis", "store", "config", "capacity", "shares", "seeding"),
    ("recorder", "plan", "thresholds", "codec", "joining", "hosts", "dataset", "observations"),
    ("readings",),
    ("model", "costs"),
    ("phase", "trace"),
    ("histogram", "units", "redact", "suggest", "child", "options", "cluster_key", "monitoring"),
    ("errors",),
)
"""From the top down. A package imports those of the layers below its own, and none of its own layer.

One that is not here fails a test: put it into the lowest layer that is above everything it imports.
"""

PARTS = {
    "_rule_parser": "thresholds",
    "_rule_scanner": "thresholds",
    "_config_files": "config",
    "_config_values": "config",
}
"""Private modules, and the module that they are a part of."""

RANK = {name: -depth for depth, layer in enumerate(LAYERS) for name in layer}

ONLY_IN_LOAD = {"locust", "gevent", "greenlet", "geventhttpclient", "flask", "configargparse", "zmq"}
"""What patches the process, or comes with what does."""

MAY_EXIT = {
    "load/plugin.py": "Locust's `init` event: nothing above it would end the process",
    "load/cluster/rpc.py": "Locust makes its sockets before any event: nothing above would end the process",
    "load/interrupts.py": "the second Ctrl-C, and the hook for errors that nobody caught",
    "monitors/sampler.py": "the main function of a process of its own",
    "target/__main__.py": "the main function of a process of its own",
}
"""Modules outside `cli` that end their process, and why."""

SOURCES = sorted(ROOT.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def package_of(path: Path) -> str:
    """Return the package or module at the top of perfload that `path` belongs to."""
    name = path.relative_to(ROOT).with_suffix("").parts[0]
    return PARTS.get(name, name)


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the dotted names that `path` imports, those inside functions and type-checking blocks too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)} has a relative import, which the layers do not see"
            assert node.module is not None
            yield from (f"{node.module}.{name.name}" for name in node.names)


def perfload_imports(path: Path) -> set[str]:
    """Return the packages and modules at the top of perfload that `path` imports."""
    found = set()
    for name in imported_modules(path):
        parts = name.split(".")
        if parts[0] != "perfload" or len(parts) == 1:
            continue
        if (ROOT / parts[1]).is_dir() or (ROOT / f"{parts[1]}.py").is_file():
            found.add(PARTS.get(parts[1], parts[1]))
    return found - {package_of(path)}


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_every_module_has_its_layer(path: Path) -> None:
    package = package_of(path)
    if package != "__init__":
        assert package in RANK, (
            f"perfload/{relative(path)} has no layer: add {package!r} to LAYERS in {__file__}"
        )


def test_the_table_names_no_module_that_is_gone() -> None:
    assert RANK.keys() == {package_of(path) for path in SOURCES} - {"__init__"}


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_imports_go_down(path: Path) -> None:
    package = package_of(path)
    own = RANK["model"] + 1 if package == "__init__" else RANK.get(package, 1)
    wrong = sorted(name for name in perfload_imports(path) if RANK.get(name, own) >= own)
    assert not wrong, f"perfload/{relative(path)} imports {wrong}, which is not below {package!r} in LAYERS"


def test_the_walk_over_imports_finds_what_is_known_to_be_there() -> None:
    assert {"recorder", "plan", "model"} <= perfload_imports(ROOT / "load" / "arrivals.py")
    assert perfload_imports(ROOT / "cli" / "report.py") >= {"store", "analysis", "report", "errors"}
    assert perfload_imports(ROOT / "units.py") == {"errors"}


def test_only_load_imports_locust() -> None:
    importers = {
        package_of(path)
        for path in SOURCES
        if ONLY_IN_LOAD & {name.partition(".")[0] for name in imported_modules(path)}
    }
    assert importers == {"load"}


@pytest.mark.parametrize("name", ["__init__", "model", "errors", "histogram", "units", "suggest", "recorder"])
def test_the_core_needs_nothing_but_the_standard_library(name: str) -> None:
    tops = {module.partition(".")[0] for module in imported_modules(ROOT / f"{name}.py")}
    assert tops <= {*sys.stdlib_module_names, "perfload"}


def calls(path: Path) -> Iterator[str]:
    """Yield what `path` calls, as written: `print`, `sys.exit`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_only_the_command_line_prints() -> None:
    printers = {relative(path) for path in SOURCES if "print" in set(calls(path))}
    assert printers
    assert all(path.startswith("cli/") for path in printers), printers


def test_only_the_command_line_and_the_documented_exits_end_the_process() -> None:
    exits = {"sys.exit", "os._exit", "exit", "quit", "SystemExit"}
    leavers = {relative(path) for path in SOURCES if exits & set(calls(path))}
    assert {path for path in leavers if not path.startswith("cli/")} == MAY_EXIT.keys()


def test_only_the_load_the_sampler_and_the_target_read_a_clock() -> None:
    clocks = {
        "time.time",
        "time.time_ns",
        "time.monotonic",
        "time.perf_counter",
        "time.perf_counter_ns",
        "datetime.now",
        "datetime.datetime.now",
    }
    readers = {relative(path) for path in SOURCES if clocks & set(calls(path))}
    assert "load/clock.py" in readers
    assert {path for path in readers if not path.startswith(("load/", "target/"))} == {"monitors/sampler.py"}
