import io

import pytest

from perfload.cli import main as command
from perfload.cluster_key import ClusterKey


def test_keygen_prints_a_line_for_the_env_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["cluster", "keygen"]) == 0
    captured = capsys.readouterr()
    name, _, text = captured.out.removesuffix("\n").partition("=")
    assert name == "PERFLOAD_CLUSTER_KEY"
    assert ClusterKey.parse(text).text == text
    assert captured.err == ""  # nobody is there to read it


def test_every_key_is_a_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["cluster", "keygen"])
    command.main(["cluster", "keygen"])
    assert len(set(capsys.readouterr().out.splitlines())) == 2


def test_a_person_is_told_what_to_do_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr", terminal)
    assert command.main(["cluster", "keygen"]) == 0
    assert ".env.performance" in terminal.getvalue()
    assert "plk1_" not in terminal.getvalue()
    assert capsys.readouterr().out.startswith("PERFLOAD_CLUSTER_KEY=plk1_")


@pytest.mark.parametrize("arguments", [["cluster"], ["cluster", "keys"], ["cluster", "keygen", "--now"]])
def test_anything_else_is_a_mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("arguments", [["cluster", "--help"], ["cluster", "keygen", "--help"]])
def test_the_help_says_what_the_key_is_for(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "treat it as a password" in shown
    assert ".env.performance" in shown
