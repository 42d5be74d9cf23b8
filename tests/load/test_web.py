from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from perfload.errors import UsageError
from perfload.load.web import guard

OWN = "http://127.0.0.1:8089"


def check_start(host: str | None) -> None:
    if host == "http://example.com":
        raise UsageError("load may not go to example.com", hint="--allow-host example.com")


@pytest.fixture
def app() -> Flask:
    app = Flask("locust")
    app.add_url_rule("/logs", "locust.logs", lambda: "logs")
    app.add_url_rule("/swarm", "locust.swarm", lambda: "started", methods=["POST"])
    return app


def client(app: Flask, listens_on: str) -> Any:
    environment = SimpleNamespace(host="http://localhost")
    guard(SimpleNamespace(app=app, host=listens_on, environment=environment), check_start)
    return app.test_client()


def test_the_uis_own_pages_and_programs_are_let_in(app: Flask) -> None:
    ui = client(app, "127.0.0.1")
    assert ui.get("/logs", base_url=OWN).text == "logs"
    assert ui.post("/swarm", base_url=OWN, headers={"Origin": OWN}).text == "started"
    assert ui.post("/swarm", base_url="http://localhost:8089").text == "started"


@pytest.mark.parametrize("method", ["get", "post"])
def test_pages_of_other_sites_are_not(app: Flask, method: str) -> None:
    ui = client(app, "127.0.0.1")
    path = {"get": "/logs", "post": "/swarm"}[method]
    assert (
        getattr(ui, method)(path, base_url=OWN, headers={"Origin": "http://evil.example"}).status_code == 403
    )


def test_a_name_that_an_attacker_points_here_is_not(app: Flask) -> None:
    ui = client(app, "127.0.0.1")
    evil = "http://evil.example:8089"
    assert ui.post("/swarm", base_url=evil, headers={"Origin": evil}).status_code == 403


def test_a_ui_that_listens_everywhere_answers_to_any_name(app: Flask) -> None:
    ui = client(app, "")
    assert ui.post("/swarm", base_url="http://load.example:8089").text == "started"


def test_a_start_that_is_refused_says_why(app: Flask) -> None:
    answer = client(app, "127.0.0.1").post("/swarm", base_url=OWN, data={"host": "http://example.com"}).json
    assert answer["success"] is False
    assert answer["message"] == "load may not go to example.com\n  --allow-host example.com"
