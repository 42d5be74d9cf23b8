"""docker-compose.yml as the real docker-compose reads it; that needs no engine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.locust_runs import ROOT

PROFILES = ("demo", "stores", "monitoring")


def run_config(env_file: Path, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `docker-compose config` with `settings`, for which `env_file` is written."""
    env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), "utf-8")
    profiles = (word for profile in PROFILES for word in ("--profile", profile))
    files = (
        "--project-directory",
        str(ROOT),
        "--file",
        str(ROOT / "docker-compose.yml"),
        "--env-file",
        str(env_file),
    )
    return subprocess.run(
        [*_command(), *files, *profiles, "config"],
        # A variable of whoever runs the tests would be stronger than the file.
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        capture_output=True,
        text=True,
        check=False,
    )


def services(env_file: Path, settings: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the services with everything substituted."""
    done = run_config(env_file, settings)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = _unescaped(yaml.safe_load(done.stdout))["services"]
    return found


def mounts(service: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is mounted and where; docker-compose 1 says it in words, 2 in a dictionary."""
    for volume in service.get("volumes", ()):
        if isinstance(volume, dict):
            yield volume["source"], volume["target"]
        else:
            source, target, *_ = volume.split(":")
            yield source, target


def _command() -> tuple[str, ...]:
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    plugin = shutil.which("docker") and subprocess.run(
        ["docker", "compose", "version"], capture_output=True, check=False
    )
    if plugin and plugin.returncode == 0:
        return ("docker", "compose")
    pytest.skip("no docker-compose on PATH: docker-compose.yml is not read by it")


def _unescaped(value: Any) -> Any:
    """Return `value` with the doubled dollars of a compose file made single again."""
    if isinstance(value, dict):
        return {name: _unescaped(held) for name, held in value.items()}
    if isinstance(value, list):
        return [_unescaped(held) for held in value]
    return value.replace("$$", "$") if isinstance(value, str) else value
