# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How often an image is downloaded: by one run for many machines, and by runs that start together."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ansible_collections.poolwright.virt.tests.bench.children import Child
from ansible_collections.poolwright.virt.tests.bench.figures import Measured, Table, must
from ansible_collections.poolwright.virt.tests.bench.places import PREFIX, TINY
from ansible_collections.poolwright.virt.tests.bench.pool_module import PoolModule, finished
from ansible_collections.poolwright.virt.tests.bench.stage import Stage, libvirt_stage

PROCESSES = 4
_CHUNK = 64 * 1024


class ImageServer(ThreadingHTTPServer):
    """Serves one file under any path, and counts: ``requests``, those answered 304, and downloads of the ``whole``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = TINY.read_bytes()
        self.etag = f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'
        self._lock = threading.Lock()
        self.counts = {"requests": 0, "unchanged": 0, "whole": 0}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/tiny.qcow2"

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that only asked whether the file is there hangs up; that is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: ImageServer

    def do_GET(self) -> None:
        self.server.count("requests")
        if self.headers.get("If-None-Match") == self.server.etag:
            self.server.count("unchanged")
            self.send_response(304)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.send_header("ETag", self.server.etag)
        self.end_headers()
        with suppress(ConnectionError):
            for start in range(0, len(self.server.content), _CHUNK):
                self.wfile.write(self.server.content[start : start + _CHUNK])
            self.server.count("whole")

    def log_message(self, format: str, *args: Any) -> None:
        """Counted, not shown."""


@contextmanager
def serving() -> Iterator[ImageServer]:
    with ImageServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def measure(quick: bool) -> Measured:
    size = 4 if quick else 12
    checksum = f"sha256:{hashlib.sha256(TINY.read_bytes()).hexdigest()}" if TINY.exists() else ""
    with libvirt_stage() as stage:
        checksum = checksum or f"sha256:{hashlib.sha256(TINY.read_bytes()).hexdigest()}"
        cases = {}
        for said, given in (("with a checksum", {"checksum": checksum}), ("without", {})):
            cases[f"one run for {size} machines, {said}"] = _one(stage, size, given)
            cases[f"{PROCESSES} runs at once for {size} machines, {said}"] = _together(stage, size, given)
    for case, counts in cases.items():
        must(counts["whole"] == 1, f"{case}: {counts['whole']} downloads")
    rows = [[case, str(counts["whole"]), str(counts["requests"]), str(counts["unchanged"])] for case, counts in cases.items()]
    table = Table("Requests to the server of the image", ["", "downloads of the whole", "requests", "of them answered 304"], rows)
    return Measured([table], {"counts": cases})


def _one(stage: Stage, size: int, image: dict[str, str]) -> dict[str, int]:
    with serving() as server:
        module = PoolModule(stage.folder, "image", stage.params(_pool(server, 0, size, image)))
        result, _ended = module.process()
        must(result["pools"][f"{PREFIX}image-0"]["ready"] == size, "not all machines were made")
        return _counted(stage, server)


def _together(stage: Stage, size: int, image: dict[str, str]) -> dict[str, int]:
    with serving() as server, ExitStack() as started:
        modules = [PoolModule(stage.folder, f"image-{number}", stage.params(_pool(server, number, size // PROCESSES, image))) for number in range(PROCESSES)]
        children = [started.enter_context(Child(module.argv())) for module in modules]
        for child in children:
            finished(json.loads(child.end().output))
        return _counted(stage, server)


def _pool(server: ImageServer, number: int, size: int, image: dict[str, str]) -> dict[str, Any]:
    return {
        "name": f"{PREFIX}image-{number}",
        "size": size,
        "image": {"source": server.url, "format": "qcow2", **image},
        "memory_mb": 64,
        "power": "off",
        "ready": {"check": "none"},
    }


def _counted(stage: Stage, server: ImageServer) -> dict[str, int]:
    """The server's counts; the next case then begins with an empty cache."""
    stage.clear()
    shutil.rmtree(stage.location)
    return dict(server.counts)
