# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""HTTPS to a vCenter: one request, one answer, and exact words on how far a failed request came."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Callable, TypeVar

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ConnectionFailed
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.endpoint import Endpoint, Secret

T = TypeVar("T")

COOKIE = "vmware_soap_session"
_PATH = "/sdk"
_KEPT_SECONDS = 50.0  # load balancers drop idle connections after a minute
_CONNECT_SECONDS = 30.0


class CertificateRefused(ConnectionFailed):
    """The server's certificate is not one that was said to be trusted."""

    code = "certificate_refused"
    transient = False
    config = True


class NotVsphere(ConnectionFailed):
    """Something answers there, but it is no vCenter."""

    code = "not_vsphere"
    transient = False
    config = True


class Unsent(ConnectionFailed):
    """No connection was made, so the server has seen nothing of the request."""


class AnswerBroken(ConnectionFailed):
    """The request was sent and no proper answer came: whether it was carried out is not known."""


class Body:
    """A request's bytes, which may hold a password: never shown."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return f"Body({len(self._value)} bytes)"


@dataclass
class _Kept:
    connection: http.client.HTTPSConnection
    since: float


class Transport:
    """Connections to one endpoint, kept open between requests and shared by threads; and the session's cookie."""

    def __init__(self, endpoint: Endpoint, clock: Clock) -> None:
        self.endpoint = endpoint
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[_Kept] = []
        self._context: ssl.SSLContext | None = None
        self._cookie = Secret("")

    def post(self, body: Body, soap_action: str, read: Callable[[IO[bytes]], T], timeout: float | None = None, *, path: str = _PATH) -> T:
        """Send a SOAP request once; ``read`` gets the answer's bytes as they come.

        :param timeout: seconds that may pass without a byte; None is the endpoint's.
        :param path: of the service. Only that at /sdk gives the session's cookie, and gets it as a header of HTTP.
        :raises Unsent: the server saw nothing of it.   :raises CertificateRefused: nor here.
        :raises AnswerBroken: it may have been carried out.   :raises NotVsphere: the server turned it down unread.
        """
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": soap_action, "Accept-Encoding": "gzip", "User-Agent": "poolwright.virt"}
        with self._connection(timeout or self.endpoint.timeout) as connection, self._telling_of_loss():
            connection.request("POST", path, body.reveal(), {**headers, **(self.cookie_header() if path == _PATH else {})})
            response = connection.getresponse()
            if path == _PATH:
                self._take_cookie(response)
            # 500 is what SOAP has for a fault.
            if response.status not in (200, 500):
                raise self._turned_down(response, path)
            packed = response.getheader("Content-Encoding", "") == "gzip"
            answer = self._read(gzip.GzipFile(fileobj=response) if packed else response, read)
            response.read()
        return answer

    def connect(self, timeout: float | None = None) -> http.client.HTTPSConnection:
        """A new connection, the server's certificate checked; the caller closes it.

        :raises Unsent, CertificateRefused: see ``post``.
        """
        where, seconds = self.endpoint, timeout or self.endpoint.timeout
        first = (where.proxy_host, where.proxy_port) if where.proxy_host else (where.host, where.port)
        connection = http.client.HTTPSConnection(*first, timeout=min(seconds, _CONNECT_SECONDS), context=self._tls())
        if where.proxy_host:
            connection.set_tunnel(where.host, where.port)
        try:
            connection.connect()
            self._check_pin(connection)
        except ssl.SSLCertVerificationError as exc:
            connection.close()
            raise self._untrusted(exc.verify_message) from None
        except (OSError, http.client.HTTPException) as exc:
            connection.close()
            raise Unsent(f"vCenter cannot be reached: {exc or type(exc).__name__}", obj=str(where), phase="connect", hint=self._hint(exc)) from None
        except BaseException:  # whatever it is, goes on after the connection is closed
            connection.close()
            raise
        connection.sock.settimeout(seconds)
        return connection

    @property
    def cookie(self) -> Secret:
        """The session's cookie, as the server gave it; empty before the login."""
        return self._cookie

    def cookie_header(self) -> dict[str, str]:
        """The session's cookie, as a header for a request to this endpoint."""
        return {"Cookie": f"{COOKIE}={self._cookie.reveal()}"} if self._cookie else {}

    def forget_cookie(self) -> None:
        self._cookie = Secret("")

    def close(self) -> None:
        """Close the connections that are idle. Never raises."""
        with self._lock:
            idle, self._idle = self._idle, []
        for kept in idle:
            kept.connection.close()

    @contextmanager
    def _connection(self, timeout: float) -> Iterator[http.client.HTTPSConnection]:
        """A connection for one request and its answer, kept for a next one if all went well."""
        connection = self._take_idle() or self.connect(timeout)
        try:
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            yield connection
        except BaseException:  # whatever it is, goes on: what is left on the connection would be taken for the next answer
            connection.close()
            raise
        if connection.sock is None:  # the server wanted it closed
            return
        with self._lock:
            self._idle.append(_Kept(connection, self._clock.monotonic()))

    def _take_idle(self) -> http.client.HTTPSConnection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                kept = self._idle.pop()
            fresh = self._clock.monotonic() - kept.since < _KEPT_SECONDS
            # Something to read on an idle connection is its end: a request on it would be lost without having been read.
            if fresh and kept.connection.sock is not None and not _readable(kept.connection.sock):
                return kept.connection
            kept.connection.close()

    def _read(self, stream: Any, read: Callable[[IO[bytes]], T]) -> T:
        try:
            return read(stream)
        except (OSError, http.client.HTTPException, EOFError):
            raise
        except Exception as exc:
            # Whatever pyVmomi's reader makes of what is no SOAP; it has no exception of its own for that.
            raise AnswerBroken(f"the answer cannot be read: {exc}", obj=str(self.endpoint), phase="connect") from None

    @contextmanager
    def _telling_of_loss(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException, EOFError) as exc:
            # Not chained: the frames it came through hold the request, and with it a password.
            raise AnswerBroken(f"the connection broke before the answer: {exc or type(exc).__name__}", obj=str(self.endpoint), phase="connect") from None

    def _turned_down(self, response: http.client.HTTPResponse, path: str) -> ConnectionFailed:
        said = f"the server answers HTTP {response.status} {response.reason}"
        if 400 <= response.status < 500 and response.status not in (408, 429):
            return NotVsphere(said, obj=str(self.endpoint), phase="connect", hint=f"correct hostname and port; a vCenter answers SOAP at {path}")
        # A proxy in front of vCenter says so too when the connection behind it broke midway.
        return AnswerBroken(said, obj=str(self.endpoint), phase="connect")

    def _take_cookie(self, response: http.client.HTTPResponse) -> None:
        for header in response.headers.get_all("Set-Cookie") or []:
            name, _equals, value = header.partition(";")[0].partition("=")
            if name.strip() == COOKIE:
                self._cookie = Secret(value.strip())

    def _tls(self) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                self._context = self._make_tls()
            return self._context

    def _make_tls(self) -> ssl.SSLContext:
        where = self.endpoint
        try:
            context = ssl.create_default_context(cafile=where.ca_path or None)
        except OSError as exc:  # an SSLError too
            raise CertificateRefused(f"ca_path cannot be read: {exc}", obj=where.ca_path, phase="connect", hint="name a file of PEM certificates") from exc
        # Python 3.13 began to ask for what many companies' own CAs lack (key identifiers, critical basic constraints); the chain,
        # the dates and the name are checked without it.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not where.validate_certs or (where.thumbprint and not where.ca_path):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _check_pin(self, connection: http.client.HTTPSConnection) -> None:
        if not self.endpoint.thumbprint:
            return
        algorithm, wanted = self.endpoint.pin
        shown = hashlib.new(algorithm, connection.sock.getpeercert(True) or b"", usedforsecurity=False).hexdigest()
        if shown != wanted:
            raise CertificateRefused(
                f"the server's certificate has the {algorithm} thumbprint {shown}, not the given one",
                obj=str(self.endpoint),
                phase="connect",
                hint="correct thumbprint if the certificate was renewed; otherwise somebody stands in between",
            )

    def _untrusted(self, why: str) -> CertificateRefused:
        where = self.endpoint
        return CertificateRefused(
            f"the server's certificate is not trusted: {why}",
            obj=str(where),
            phase="connect",
            hint=f"give ca_path the CA that signed it (a vCenter has its own at https://{where}/certs/download.zip), or thumbprint its SHA-256",
        )

    def _hint(self, exc: Exception) -> str:
        if isinstance(exc, socket.gaierror):
            return "correct hostname, or the name service of the host that runs the module"
        return "correct proxy_host and proxy_port" if self.endpoint.proxy_host else "correct hostname and port, or open the way there"


def _readable(sock: socket.socket) -> bool:
    try:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True
