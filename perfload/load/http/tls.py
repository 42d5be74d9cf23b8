"""TLS on top of a socket that the connection reads and writes itself."""

from __future__ import annotations

import functools
import re
import ssl

from perfload.errors import UsageError
from perfload.load.http.failures import RequestFailed
from perfload.load.http.origin import Origin
from perfload.load.http.wire import READ_BYTES

_ALERT = re.compile(r"(?:ssl|tls)v[0-9]+ alert ")
"""How the TLS library begins what the other side has said; the version in it is no protocol's."""


@functools.cache
def context_for(
    *, insecure: bool, ca_file: str | None = None, client_cert: str | tuple[str, str] | None = None
) -> ssl.SSLContext:
    """Return the context that all connections of this process share: loading the authorities takes 20 ms.

    `ca_file` holds the authorities to trust, in the place of the system's. `client_cert` is a file with a
    certificate and its key, or (certificate, key), all in PEM. Raises `UsageError` for files that are not so.
    """
    if ca_file:
        _check_readable("ca_file", ca_file)
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise UsageError(
            f"ca_file {ca_file} holds no certificate", hint="give the authorities' certificates as PEM"
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if client_cert:
        _load_own(context, client_cert)
    return context


def context_of(
    given: ssl.SSLContext | None,
    *,
    insecure: bool,
    ca_file: str | None,
    client_cert: str | tuple[str, str] | None,
) -> ssl.SSLContext:
    """Return `given` or, by what else is asked for, a shared one; raises ValueError when both are wanted."""
    if given is None:
        return context_for(insecure=insecure, ca_file=ca_file, client_cert=client_cert)
    if insecure or ca_file or client_cert:
        raise ValueError("insecure, ca_file and client_cert are said by the ssl_context where there is one")
    return given


def _load_own(context: ssl.SSLContext, client_cert: str | tuple[str, str]) -> None:
    certificate, key = (client_cert, None) if isinstance(client_cert, str) else client_cert
    for path in (certificate, key):
        if path:
            _check_readable("client_cert", path)

    def refuse() -> str:
        # Without this the TLS library would ask on the terminal, in the middle of a test.
        raise UsageError(
            f"the key in client_cert {key or certificate} is encrypted",
            hint=f"decrypt it: openssl pkey -in {key or certificate} -out plain.pem",
        )

    try:
        context.load_cert_chain(certificate, key, refuse)
    except ssl.SSLError as error:
        both = certificate if key is None else f"{certificate} and {key}"
        raise UsageError(
            f"client_cert {both} holds no certificate with its key ({_words_of(error)})",
            hint="give one PEM file with both, or a pair (certificate, key)",
        ) from error


def _check_readable(option: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise UsageError(
            f"{option} {path} cannot be read: {(error.strerror or str(error)).lower()}",
            hint="correct the path; one that is not absolute begins at the working directory",
        ) from error


class Channel:
    """One TLS session as a filter: bytes of the network on one side, those of HTTP on the other."""

    __slots__ = ("_incoming", "_outgoing", "_tls")

    def __init__(self, context: ssl.SSLContext, host: str, session: ssl.SSLSession | None = None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host, session=session)

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection can go on with; complete once the server has answered a request."""
        return self._tls.session

    def handshake(self, received: bytes) -> bool:
        """Take what was received and return whether the handshake is done; then send `outgoing()`.

        Raises `RequestFailed` when it fails; `outgoing()` then holds the alert that tells the server why.
        """
        if received:
            self._incoming.write(received)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise RequestFailed(_reason_of(error)) from error
        return True

    def outgoing(self) -> bytes:
        """Return what is to be sent to the network now."""
        return self._outgoing.read()

    def encrypt(self, plain: bytes) -> bytes:
        """Return `plain` as it is sent."""
        try:
            self._tls.write(plain)
        except ssl.SSLError as error:
            raise RequestFailed(_reason_of(error)) from error
        return self._outgoing.read()

    def decrypt(self, received: bytes) -> tuple[bytes, bool]:
        """Return the bytes of HTTP in what was received, and whether the server has said that it is done."""
        self._incoming.write(received)
        pieces: list[bytes] = []
        try:
            while piece := self._tls.read(READ_BYTES):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces), False
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLError as error:
            raise RequestFailed(_reason_of(error)) from error
        return b"".join(pieces), True


class Tickets:
    """The TLS sessions that one virtual user can go on with: its own and nobody else's.

    A session is taken from the last connection when the next one is made: TLS 1.3 sends it after the
    handshake, and a user that never comes back costs nothing.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[Origin, Channel] = {}

    def expect(self, origin: Origin, channel: Channel) -> None:
        """Note that the next session for `origin` is that of `channel`, as soon as it has one."""
        self._last[origin] = channel

    def last_for(self, origin: Origin) -> ssl.SSLSession | None:
        """Return the last session with `origin`, or None."""
        channel = self._last.get(origin)
        return None if channel is None else channel.session


def _reason_of(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {error.verify_message.rstrip('.')}"
    words = _words_of(error)
    refused = _ALERT.sub("", words, count=1)
    return f"TLS failed: {words}" if refused == words else f"TLS refused by the server: {refused}"


def _words_of(error: ssl.SSLError) -> str:
    return (error.reason or "unknown").lower().replace("_", " ")
