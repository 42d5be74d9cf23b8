"""What a class of users says about its connections: certificates, proxies, sockets."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from locust import TaskSet, User, task

from perfload.config import load_config
from perfload.errors import UsageError
from perfload.load import HttpUser, plugin
from perfload.load.users import check_users
from tests.load.conftest import wait_for
from tests.load.http.conftest import self_signed
from tests.load.http.servers import OK, ConnectProxy, ScriptedServer


@pytest.fixture(autouse=True)
def default_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = load_config(directory=tmp_path, environ={}, flags={})
    monkeypatch.setattr(plugin.installed, "_config", config)


def test_certificates_and_sessions(
    serve_tls: Callable[..., ScriptedServer],
    certificate: tuple[Path, Path],
    tmp_path: Path,
    make_environment: Callable[..., Any],
) -> None:
    own = self_signed(tmp_path, "client")
    server = serve_tls(ssl.TLSVersion.TLSv1_3, clients=own[0])
    server.answer(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbye")

    class Visitor(HttpUser):
        host = f"https://localhost:{server.port}"
        ca_file = str(certificate[0])
        client_cert = str(own[0]), str(own[1])

    class Forgetful(Visitor):
        resume_tls = False

    for kind in (Visitor, Forgetful):
        user = kind(make_environment(kind))
        assert [user.client.get("/").content for _ in range(2)] == [b"bye"] * 2
    assert server.resumed == [False, True, False, False]


def test_a_proxy(server: ScriptedServer, make_environment: Callable[..., Any]) -> None:
    relay = ConnectProxy()
    server.answer(OK)

    class Proxied(HttpUser):
        host = server.url
        proxy = f"http://127.0.0.1:{relay.port}"

    user = Proxied(make_environment(Proxied))
    assert user.client.get("/").content == b"ok"
    assert [asked.target for asked in relay.asked] == [f"127.0.0.1:{server.port}"]
    user.client.close()
    relay.close()


def test_a_unix_socket(tmp_path: Path, make_environment: Callable[..., Any]) -> None:
    local = ScriptedServer(path=str(tmp_path / "app.sock"))
    local.answer(OK)

    class Local(HttpUser):
        host = "http://localhost"
        unix_socket = str(tmp_path / "app.sock")

    user = Local(make_environment(Local))
    assert user.client.get("/").content == b"ok"
    assert local.asked[0].fields["host"] == "localhost"
    user.client.close()
    local.close()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"proxy": "127.0.0.1:3128"}, "a proxy is written http://host:port"),
        ({"client_cert": "/nowhere/client.pem"}, "client_cert /nowhere/client.pem cannot be read"),
        ({"proxy": "http://a:1", "unix_socket": "/b"}, "a proxy or to a unix_socket, not both"),
        ({"host": "localhost:8000"}, "not a URL that can be requested"),
    ],
)
def test_a_class_that_cannot_be_ends_the_test(
    make_environment: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    attributes: dict[str, str],
    message: str,
) -> None:
    kind: Any = type("Visitor", (HttpUser,), {"host": "http://127.0.0.1:1", **attributes})
    environment = make_environment(kind)
    environment.runner.start(1, spawn_rate=1)
    wait_for(lambda: environment.runner.state == "stopped")
    assert [record.getMessage() for record in caplog.records if message in record.getMessage()]


class Nested(TaskSet):
    @task
    def work(self) -> None: ...


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file /nowhere/ca.pem cannot be read"),
        ({"proxy": "127.0.0.1:3128"}, "Visitor: a proxy is written http://host:port"),
        ({"proxy": "http://a:1", "unix_socket": "/b"}, "Visitor: .*not both"),
        ({"host": "localhost:8000"}, "Visitor: not a URL"),
        ({"lean": True, "tasks": [Nested]}, "Visitor: a lean user has plain tasks"),
    ],
)
def test_classes_are_checked_without_making_a_user(attributes: dict[str, Any], message: str) -> None:
    kind: Any = type("Visitor", (HttpUser,), attributes)
    with pytest.raises(UsageError, match=message):
        check_users([User, HttpUser, kind])


def test_classes_that_can_be_pass_the_check(tmp_path: Path) -> None:
    certificate, _ = self_signed(tmp_path, "ca")
    good = {"ca_file": str(certificate), "proxy": "http://me:secret@localhost:3128", "tasks": [Nested]}
    kinds = ({}, good, {"lean": True, "host": "https://localhost"})
    check_users([User, *(type("Visitor", (HttpUser,), attributes) for attributes in kinds)])
