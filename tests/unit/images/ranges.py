# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A web server that breaks off, sends parts, lies about them, and changes its file."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Ranges:
    """One file and how it is served.

    :ivar breaks_after: bytes after which each answer ends early, the first ``breaks`` times.
    :ivar then: another version and its ETag, from the second request on. ``heeds_condition``: whether ``If-Range`` is looked at.
    :ivar lie: what ``Content-Range`` says.   :ivar then_nothing: all answers but the first end at once.
    """

    body: bytes
    etag: str = ""
    modified: str = ""
    breaks_after: int = 0
    breaks: int = 1_000_000
    ranges: bool = True
    then: tuple[bytes, str] | None = None
    heeds_condition: bool = True
    lie: str | None = None
    then_nothing: bool = False
    url: str = ""
    sent: int = 0
    starts: list[int] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body, etag = (self.body, self.etag) if self.then is None or not self.starts else self.then
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(asked[1]) if asked and self.ranges else 0
        condition = handler.headers.get("If-Range")
        if self.heeds_condition and condition is not None and condition not in (etag, self.modified):
            start = 0
        self.starts.append(start)
        handler.send_response(206 if start else 200)
        for name, value in (("ETag", etag), ("Last-Modified", self.modified)):
            if value:
                handler.send_header(name, value)
        if start:
            said = "bytes {start}-{last}/{size}" if self.lie is None else self.lie
            handler.send_header("Content-Range", said.format(start=start, last=len(body) - 1, size=len(body)))
        handler.send_header("Content-Length", str(len(body) - start))
        handler.end_headers()
        rest = body[start:]
        if self.breaks_after and len(self.starts) <= self.breaks:
            rest = rest[: self.breaks_after]
        if self.then_nothing and len(self.starts) > 1:
            rest = b""
        with contextlib.suppress(OSError):
            handler.wfile.write(rest)
            self.sent += len(rest)


@contextlib.contextmanager
def serving(file: Ranges) -> Iterator[Ranges]:
    """The file behind ``file.url``, on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file.answer(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    file.url = f"http://127.0.0.1:{server.server_address[1]}/disk.raw"
    try:
        yield file
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
