"""The files that perfload is deployed with, as their tests read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
KUBERNETES = ROOT / "deploy" / "kubernetes"


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def compose() -> dict[str, Any]:
    """Return docker-compose.yml as it is written: nothing substituted, fragments merged."""
    return yaml.safe_load(text("docker-compose.yml"))


def resources(name: str) -> list[dict[str, Any]]:
    """Return the documents in a file of deploy/kubernetes/."""
    return list(yaml.safe_load_all((KUBERNETES / name).read_text("utf-8")))


def variables(name: str) -> dict[str, str]:
    """Return what an env file sets; a line that is commented out, `# NAME=value`, counts as well."""
    lines = (line.removeprefix("# ") for line in text(name).splitlines())
    pairs = (line.partition("=") for line in lines)
    return {key: value for key, found, value in pairs if found and key.isidentifier() and key.isupper()}
