import argparse
import os
import subprocess
import sys
from types import ModuleType

import pytest

from perfload import __version__
from perfload.child import child_environment
from perfload.cli import main as command
from perfload.errors import ExitCode, PerfloadError, RecordError, TargetUnreachable, UsageError


def verb(monkeypatch: pytest.MonkeyPatch, outcome: int | BaseException) -> None:
    """Add a verb `try` that ends with `outcome`."""

    def run(arguments: argparse.Namespace) -> int:
        sys.stdout.write(f"begun {arguments.word}\n")
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    module = ModuleType("try", "Try it.\n\nOr not.")
    module.configure = lambda parser: parser.add_argument("word")  # type: ignore[attr-defined]
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(command.VERBS, "try", module)


@pytest.mark.parametrize("code", [*ExitCode, 7])
def test_a_verbs_code_is_the_process_s(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    verb(monkeypatch, code)
    assert command.main(["try", "x"]) == code
    assert capsys.readouterr() == ("begun x\n", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PerfloadError("it broke", hint="mend it"), 1),
        (UsageError("it broke", hint="mend it"), 2),
        (TargetUnreachable("it broke", hint="mend it"), 2),
        (RecordError("it broke", hint="mend it"), 2),
    ],
)
def test_an_error_of_ours_is_said_once_with_its_next_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: PerfloadError, code: int
) -> None:
    verb(monkeypatch, error)
    assert command.main(["try", "x"]) == code
    assert capsys.readouterr() == ("begun x\n", "perfload: it broke\n  mend it\n")


def test_an_error_without_a_hint_has_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(monkeypatch, UsageError("it broke"))
    assert command.main(["try", "x"]) == 2
    assert capsys.readouterr().err == "perfload: it broke\n"


def test_ctrl_c_is_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(monkeypatch, KeyboardInterrupt())
    assert command.main(["try", "x"]) == 130
    assert capsys.readouterr().err == ""


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    verb(monkeypatch, ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError, match="ours"):
        command.main(["try", "x"])


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"perfload {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["report"], "the following arguments are required: RUN"),
        (["report", "reports/x", "--jsno"], "unrecognized arguments: --jsno"),
        (["demo", "ai", "fast", "--x=1"], "unrecognized arguments: fast --x=1"),
        (["demo", "fast"], "argument WHAT: invalid choice: 'fast'"),
        (["demo", "--time-scale", "quick"], "argument --time-scale: invalid float value: 'quick'"),
    ],
)
def test_a_command_line_that_is_not_understood(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == ExitCode.USAGE
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", command.VERBS)
def test_the_help_of_a_verb_is_its_module_s_docstring(capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit):
        command.main([name, "--help"])
    document = command.VERBS[name].__doc__
    assert document is not None
    assert document.strip() in capsys.readouterr().out


def test_help_lists_every_verb_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    words = [line.split()[:1] for line in capsys.readouterr().out.splitlines()]
    assert [name for name in command.VERBS if [name] not in words] == []
    assert [code for code in ExitCode if [str(int(code))] not in words] == []


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nobody_is_told_when_the_reader_has_left(unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    child = subprocess.run(
        [sys.executable, "-P", "-m", "perfload.cli.main", "--help"],
        env=child_environment({"PYTHONUNBUFFERED": unbuffered}),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(writer)
    assert (child.returncode, child.stderr) == (0, "")
