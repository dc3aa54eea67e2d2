# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Opening an image over HTTP(S) with the standard library: TLS verified, proxies from the environment, no credentials in errors."""

from __future__ import annotations

import base64
import http.client
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import IO
from urllib.parse import unquote, urlsplit, urlunsplit

from ansible_collections.poolwright.virt.plugins.module_utils.errors import AuthenticationFailed, NotFound, TransferFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import redact

# How long a server may be silent, whatever time the whole transfer has.
SILENCE_SECONDS = 30.0
_TRY_AGAIN = (408, 425, 429)
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_RANGE_HINT = "its ranges cannot be relied on: use another server"
_CERTIFICATE_HINT = "install the server's CA on the target host, or name it in SSL_CERT_FILE"


@dataclass(frozen=True)
class Validators:
    """What a server said about a version of a file, to ask whether it is still the one; empty where it said nothing."""

    etag: str = ""
    last_modified: str = ""

    def __bool__(self) -> bool:
        return bool(self.etag or self.last_modified)

    @property
    def condition(self) -> str:
        """What makes a server send the rest of this very version only; "" where it said nothing that is exact enough."""
        return self.last_modified if self.etag.startswith("W/") or not self.etag else self.etag


@dataclass(frozen=True)
class Answer:
    """An open response: ``size`` of the whole file in bytes, None where the server does not say; its bytes begin at ``start``."""

    stream: http.client.HTTPResponse
    size: int | None
    validators: Validators
    start: int = 0


class _KeepSecure(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but never from https to anything else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise _failed(redact(req.full_url), f"the server redirects from https to {redact(newurl)}", transient=False)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_url(
    url: str, timeout: float, *, known: Validators | None = None, validate_certs: bool = True, start: int = 0, version: Validators | None = None
) -> Answer | None:
    """Open ``url`` for reading; None where the server says that the version with the ``known`` validators is still current.

    :param timeout: seconds the server may be silent, at most ``SILENCE_SECONDS``.
    :param start: ask for the bytes from there on. A server may send all in their place: see the answer's ``start``.
    :param version: with ``start``, of this version only.
    :raises NotFound: the server has no such file.
    :raises AuthenticationFailed: it wants (other) credentials.
    :raises TransferFailed: anything else; ``transient`` where trying again may help.
    """
    shown = redact(url)
    try:
        response = _opener(validate_certs).open(_request(url, known, start, version), timeout=min(timeout, SILENCE_SECONDS))
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code == 304 and known:
            return None
        raise _refusal(shown, exc.code, str(exc.reason)) from None
    except urllib.error.URLError as exc:
        raise _unreachable(shown, exc.reason) from None
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise _unreachable(shown, exc) from None
    length = response.headers.get("Content-Length", "")
    size = int(length) if length.isdigit() else None
    validators = Validators(response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""))
    if response.status != 206:
        return Answer(response, size, validators)
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    first, last, whole = (int(number) for number in match.groups()) if match is not None else (-1, 0, 0)
    if first != start or last + 1 != whole or size not in (None, whole - start):
        response.close()
        raise _failed(shown, f"the server was asked for the bytes from {start} on, and answered with others", transient=False, hint=_RANGE_HINT)
    return Answer(response, whole, validators, start)


def _opener(validate_certs: bool) -> urllib.request.OpenerDirector:
    """An opener that knows http and https only: the usual one would also follow a redirection to ftp."""
    context = ssl.create_default_context()
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPDefaultErrorHandler(),
        _KeepSecure(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _request(url: str, known: Validators | None, start: int, version: Validators | None) -> urllib.request.Request:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(  # noqa: S310 (sources are checked to be http(s), and the opener knows nothing else)
        urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
    )
    request.add_header("Accept-Encoding", "identity")
    request.add_header("User-Agent", "poolwright.virt")
    if at:
        # Unredirected: not for the host that a redirection leads to.
        secret = base64.b64encode(":".join(unquote(part) for part in user.split(":", 1)).encode())
        request.add_unredirected_header("Authorization", f"Basic {secret.decode()}")
    if start:
        request.add_header("Range", f"bytes={start}-")
        if version is not None and version.condition:
            request.add_header("If-Range", version.condition)
    if known is not None and known.etag:
        request.add_header("If-None-Match", known.etag)
    if known is not None and known.last_modified:
        request.add_header("If-Modified-Since", known.last_modified)
    return request


def _refusal(shown: str, status: int, reason: str) -> VirtError:
    said = f"the server answered {status} {reason}"
    if status in (404, 410):
        return NotFound(said, obj=shown, phase="fetch", hint="correct the image's source")
    if status in (401, 403, 407):
        return AuthenticationFailed(said, obj=shown, phase="fetch", hint="give credentials that may read the image")
    return _failed(shown, said, transient=status >= 500 or status in _TRY_AGAIN)


def _unreachable(shown: str, reason: object) -> TransferFailed:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return _failed(shown, f"the server's certificate is not trusted: {reason.verify_message}", transient=False, hint=_CERTIFICATE_HINT)
    # Its text may hold the URL with its credentials.
    said = (reason.strerror or type(reason).__name__) if isinstance(reason, OSError) else type(reason).__name__
    return _failed(shown, f"the server cannot be reached: {said}", transient=True)


def _failed(shown: str, message: str, *, transient: bool, hint: str = "") -> TransferFailed:
    error = TransferFailed(message, obj=shown, phase="fetch", hint=hint)
    error.transient = transient
    return error
