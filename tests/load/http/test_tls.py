"""TLS sessions that are gone on with, certificates of clients and authorities, and the name that is sent."""

import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

from perfload.errors import UsageError
from perfload.load.http import Timeouts
from perfload.load.http.tls import context_for
from tests.load.http.conftest import Client, self_signed
from tests.load.http.servers import OK, PAUSE, ScriptedServer

Connect = Callable[..., Client]
Serve = Callable[..., ScriptedServer]

BYE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbye"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def url_of(server: ScriptedServer) -> str:
    return f"https://localhost:{server.port}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clients")


@pytest.fixture(scope="module")
def own(folder: Path) -> tuple[Path, Path]:
    """The certificate and the key of a client."""
    return self_signed(folder, "client")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_user_goes_on_with_its_own_session(
    connect: Connect, serve_tls: Serve, certificate: tuple[Path, Path], version: ssl.TLSVersion
) -> None:
    server = serve_tls(version)
    server.answer(BYE)
    client = connect(url_of(server), ca_file=str(certificate[0]))
    assert [client.get("/").content for _ in range(4)] == [b"bye"] * 4
    assert server.resumed == [False, True, True, True]
    assert client.reasons == [None] * 4


@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_user_has_no_session(connect: Connect, serve_tls: Serve, version: ssl.TLSVersion) -> None:
    server = serve_tls(version)
    server.answer(BYE)
    for _ in range(3):
        connect(url_of(server), insecure=True).get("/")
    assert server.resumed == [False] * 3


@pytest.mark.parametrize("version", VERSIONS)
def test_going_on_can_be_switched_off(connect: Connect, serve_tls: Serve, version: ssl.TLSVersion) -> None:
    server = serve_tls(version)
    server.answer(BYE)
    client = connect(url_of(server), insecure=True, resume_tls=False)
    for _ in range(3):
        client.get("/")
    assert server.resumed == [False] * 3


def test_each_origin_has_its_session(connect: Connect, serve_tls: Serve) -> None:
    one, other = serve_tls(), serve_tls()
    client = connect(url_of(one), insecure=True)
    for server in (one, other, one, other):
        server.answer(BYE)
        client.get(f"{url_of(server)}/")
    assert (one.resumed, other.resumed) == ([False, True], [False, True])


def test_a_stream_leaves_a_session_too(connect: Connect, serve_tls: Serve) -> None:
    server = serve_tls()
    server.answer(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nabc", PAUSE, b"def")
    client = connect(url_of(server), insecure=True)
    assert [client.get("/", stream=True).content for _ in range(2)] == [b"abcdef"] * 2
    assert server.resumed == [False, True]


def test_a_session_that_the_server_does_not_know_is_no_failure(connect: Connect, serve_tls: Serve) -> None:
    before = serve_tls()
    before.answer(BYE)
    client = connect(url_of(before), insecure=True)
    client.get("/")
    before.close()
    after = serve_tls(port=before.port)
    after.answer(BYE)
    assert [client.get("/").content for _ in range(2)] == [b"bye"] * 2
    assert (after.resumed, client.reasons) == ([False, True], [None] * 3)


@pytest.mark.parametrize("in_one_file", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_of_the_client(
    connect: Connect,
    serve_tls: Serve,
    own: tuple[Path, Path],
    certificate: tuple[Path, Path],
    tmp_path: Path,
    *,
    in_one_file: bool,
    version: ssl.TLSVersion,
) -> None:
    server = serve_tls(version, clients=own[0])
    server.answer(OK)
    both = tmp_path / "both.pem"
    both.write_bytes(own[1].read_bytes() + own[0].read_bytes())
    given = str(both) if in_one_file else (str(own[0]), str(own[1]))
    client = connect(url_of(server), ca_file=str(certificate[0]), client_cert=given)
    assert (client.get("/").content, client.reasons) == (b"ok", [None])


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (ssl.TLSVersion.TLSv1_2, "TLS refused by the server: handshake failure"),
        (ssl.TLSVersion.TLSv1_3, "TLS refused by the server: certificate required"),
    ],
)
def test_a_client_without_a_certificate_is_refused(
    connect: Connect, serve_tls: Serve, own: tuple[Path, Path], version: ssl.TLSVersion, expected: str
) -> None:
    server = serve_tls(version, clients=own[0])
    client = connect(url_of(server), insecure=True)
    for _ in range(5):
        client.get("/")
    assert client.reasons == [expected] * 5
    assert server.asked == []


def test_a_certificate_that_the_server_does_not_trust(
    connect: Connect, serve_tls: Serve, own: tuple[Path, Path], folder: Path
) -> None:
    strange = self_signed(folder, "stranger")
    client = connect(
        url_of(serve_tls(clients=own[0])), insecure=True, client_cert=(str(strange[0]), str(strange[1]))
    )
    client.get("/")
    assert client.reasons == ["TLS refused by the server: unknown ca"]


def test_authorities_from_a_file(
    connect: Connect, serve_tls: Serve, certificate: tuple[Path, Path], own: tuple[Path, Path]
) -> None:
    server = serve_tls()
    server.answer(OK)
    trusting = connect(url_of(server), ca_file=str(certificate[0]))
    assert trusting.get("/").content == b"ok"
    others = connect(url_of(server), ca_file=str(own[0]))
    others.get("/")
    assert others.reasons == ["certificate not trusted: self-signed certificate"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_server_is_told_the_name_and_no_address(connect: Connect, serve_tls: Serve, host: str) -> None:
    server = serve_tls()
    server.answer(OK)
    names: list[str | None] = []

    def note(_: Any, name: str | None, __: Any) -> None:
        names.append(name)

    server.context.sni_callback = note
    connect(f"https://{host}:{server.port}", insecure=True).get("/")
    assert names == ["localhost" if host == "localhost" else None]


def test_files_that_are_missing_or_something_else(own: tuple[Path, Path], folder: Path) -> None:
    missing, certificate, key = str(folder / "missing.pem"), str(own[0]), str(own[1])
    locked = self_signed(folder, "locked", "-passout", "pass:secret")
    other = self_signed(folder, "other")
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"ca_file": missing}, f"ca_file {missing} cannot be read: no such file", "correct the path"),
        ({"ca_file": str(folder)}, f"ca_file {folder} cannot be read: is a directory", "correct the path"),
        ({"ca_file": key}, f"ca_file {key} holds no certificate", "as PEM"),
        ({"client_cert": missing}, f"client_cert {missing} cannot be read", "correct the path"),
        (
            {"client_cert": (certificate, missing)},
            f"client_cert {missing} cannot be read",
            "correct the path",
        ),
        ({"client_cert": certificate}, f"client_cert {certificate} holds no", "or a pair"),
        (
            {"client_cert": (certificate, str(other[1]))},
            f"{certificate} and {other[1]} holds no certificate with its key (key values mismatch)",
            "or a pair",
        ),
        (
            {"client_cert": (str(locked[0]), str(locked[1]))},
            f"the key in client_cert {locked[1]} is encrypted",
            f"openssl pkey -in {locked[1]}",
        ),
    ]
    for options, message, hint in cases:
        with pytest.raises(UsageError) as caught:
            context_for(insecure=False, **options)
        assert message in caught.value.message
        assert hint in caught.value.hint


@pytest.mark.parametrize("option", [{"insecure": True}, {"ca_file": "a.pem"}, {"client_cert": "b.pem"}])
def test_a_context_of_the_scenarios_own_says_it_all(connect: Connect, option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ssl_context"):
        connect("https://localhost", ssl_context=ssl.create_default_context(), **option)


def answer_and_be_done(connection: socket.socket, context: ssl.SSLContext) -> bytes:
    """Answer one request and end TLS, all at once; return what comes over the connection after that."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)

    def until(step: Callable[[], Any]) -> None:
        while True:
            try:
                step()
                return
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(65536))

    until(tls.do_handshake)
    until(lambda: tls.read(65536))
    tls.write(OK)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.unwrap()
    connection.sendall(outgoing.read())
    after = b""
    while data := connection.recv(65536):
        after += data
    connection.close()
    return after


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_server_that_is_done_with_its_answer_is_asked_over_a_new_connection(
    connect: Connect, certificate: tuple[Path, Path], method: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    after: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            after.append(answer_and_be_done(connection, context))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = gevent.spawn(serve, listener)
        url = f"https://localhost:{listener.getsockname()[1]}"
        client = connect(url, ca_file=str(certificate[0]), timeouts=Timeouts(first_byte_s=0.3))
        client.get("/first")
        client.request(method, "/second")
        assert client.reasons == [None, None]
        serving.join()
    assert after == [b"", b""]
