"""TLS on top of a socket that the connection reads and writes itself."""

from __future__ import annotations

import functools
import ssl

from perfload.load.http.failures import RequestFailed

_READ_BYTES = 65536


@functools.cache
def context_for(*, insecure: bool) -> ssl.SSLContext:
    """Return the context that all connections of this process share: loading the authorities takes 20 ms."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Channel:
    """One TLS session as a filter: bytes of the network on one side, those of HTTP on the other."""

    __slots__ = ("_incoming", "_outgoing", "_tls")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

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
            while piece := self._tls.read(_READ_BYTES):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces), False
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLError as error:
            raise RequestFailed(_reason_of(error)) from error
        return b"".join(pieces), True


def _reason_of(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {error.verify_message.rstrip('.')}"
    return f"TLS failed: {(error.reason or 'unknown').lower().replace('_', ' ')}"
