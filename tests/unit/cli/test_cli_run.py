import os
import sys
from pathlib import Path

import pytest

from perfload.cli.main import build_parser, main
from perfload.cli.run import find, locust_command
from perfload.errors import UsageError

LOCUST = [sys.executable, "-m", "locust"]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two scenarios and two shapes, in which the test runs."""
    for name in ("locustfiles/ai_models", "locustfiles/api_flow", "shapes/load_test", "shapes/soak"):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_is_locust_headless_with_both_files() -> None:
    command = locust_command(Path("a.py"), Path("b.py"), ["-u", "5", "--host", "http://localhost"])
    assert command == [*LOCUST, "-f", "a.py,b.py", "--headless", "-u", "5", "--host", "http://localhost"]


def test_without_a_shape_and_with_the_web_ui() -> None:
    assert locust_command(Path("a.py"), None, [], web=True) == [*LOCUST, "-f", "a.py"]


class Became(Exception):
    """What `os.execve` was told to become: in its place, the test goes on."""

    def __init__(self, program: str, command: list[str], environment: dict[str, str]) -> None:
        super().__init__(program, command)
        self.program, self.command, self.environment = program, command, environment


def become(program: str, command: list[str], environment: dict[str, str]) -> None:
    raise Became(program, command, environment)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (
            ["ai_models", "load_test", "--host", "http://localhost:8000"],
            [
                "-f",
                "locustfiles/ai_models.py,shapes/load_test.py",
                "--headless",
                "--host",
                "http://localhost:8000",
            ],
        ),
        (
            ["ai_models", "-u", "100", "-r", "10", "-t", "60s"],
            ["-f", "locustfiles/ai_models.py", "--headless", "-u", "100", "-r", "10", "-t", "60s"],
        ),
        (
            ["shapes/../locustfiles/api_flow.py", "soak", "--web", "--threshold=p95 < 1s"],
            ["-f", "shapes/../locustfiles/api_flow.py,shapes/soak.py", "--threshold=p95 < 1s"],
        ),
    ],
)
def test_perfload_run_becomes_locust(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], options: list[str]
) -> None:
    monkeypatch.setattr(os, "execve", become)
    with pytest.raises(Became) as caught:
        main(["run", *arguments])
    assert caught.value.program == sys.executable
    assert caught.value.command == [*LOCUST, *options]
    assert caught.value.environment["PATH"] == os.environ["PATH"]


def test_what_perfload_does_not_know_goes_to_locust_in_its_order() -> None:
    parsed, rest = build_parser().parse_known_args(["run", "a", "b", "--processes", "4", "-t", "60s"])
    assert (parsed.scenario, parsed.shape, parsed.web) == ("a", "b", False)
    assert rest == ["--processes", "4", "-t", "60s"]


def test_a_name_means_a_file_of_the_folder_and_a_path_itself(project: Path) -> None:
    assert find("soak", Path("shapes")) == Path("shapes/soak.py")
    assert find("shapes/soak.py", Path("locustfiles")) == Path("shapes/soak.py")
    assert find(str(project / "shapes" / "soak.py"), Path("x")) == project / "shapes" / "soak.py"


@pytest.mark.parametrize(
    ("name", "folder", "hint"),
    [
        ("ai_model", "locustfiles", "did you mean ai_models? Known: ai_models, api_flow"),
        ("weather", "locustfiles", "Known: ai_models, api_flow"),
        ("shapes", "shapes", "Known: load_test, soak"),  # a folder is no file
        ("anything", "elsewhere", "Known: none; start perfload beside that folder"),
    ],
)
def test_a_name_that_is_none_names_the_nearest(name: str, folder: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(name, Path(folder))
    assert caught.value.message == f"there is no {name!r}, neither as a file nor in {folder}/"
    assert caught.value.hint == hint


def test_a_scenario_that_does_not_exist_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "ai_model", "load_test"]) == 2
    assert capsys.readouterr().err == (
        "perfload: there is no 'ai_model', neither as a file nor in locustfiles/\n"
        "  did you mean ai_models? Known: ai_models, api_flow\n"
    )
