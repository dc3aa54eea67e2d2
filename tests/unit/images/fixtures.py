# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real images, a real web server, and processes that can be killed; the conftest files of a folder name what it uses."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache

MIB = 1024 * 1024


@dataclass
class Page:
    """What the server says for one path; ``stall_at`` sends so many bytes and then waits for ``go_on``."""

    body: bytes
    etag: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    say_length: int | None = None
    stall_at: int | None = None
    stalled: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


class WebServer:
    """Serves ``pages`` on loopback and keeps ``requests``: (path, status, request headers)."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, int, dict[str, str]]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = owner.pages.get(self.path.partition("?")[0], Page(b"", status=404))
                status = 304 if page.etag and self.headers.get("If-None-Match") == page.etag else page.status
                owner.requests.append((self.path, status, dict(self.headers)))
                body = b"" if status == 304 else page.body
                self.send_response(status)
                if page.etag:
                    self.send_header("ETag", page.etag)
                for name, value in page.headers.items():
                    self.send_header(name, value)
                if status != 304:
                    self.send_header("Content-Length", str(len(body) if page.say_length is None else page.say_length))
                self.end_headers()
                try:
                    if page.stall_at is not None and status == 200:
                        self.wfile.write(body[: page.stall_at])
                        page.stalled.set()
                        page.go_on.wait(600)
                        body = body[page.stall_at :]
                    self.wfile.write(body)
                except OSError:
                    pass  # the client was killed

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def add(self, path: str, body: bytes, **facts: Any) -> str:
        """Serve ``body`` at ``path`` and return its URL."""
        self.pages[path] = Page(body, **facts)
        return f"http://{self.address}{path}"

    def downloads(self, path: str) -> int:
        return sum(1 for asked, status, _headers in self.requests if asked == path and status == 200)

    def close(self) -> None:
        for page in self.pages.values():
            page.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = WebServer()
    yield server
    server.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def soon(clock: Clock) -> Deadline:
    """A deadline far enough for anything a unit test does, on a loaded machine too."""
    return Deadline.after(clock, 600)


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> ImageCache:
    return ImageCache(str(tmp_path / "cache"), clock)


def qemu_img(*arguments: object) -> str:
    return subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def qemu() -> Callable[..., str]:
    """``qemu("create", "-f", "raw", path, size)``: the tool as a test uses it."""
    return qemu_img


@pytest.fixture(scope="session")
def disk_bytes() -> bytes:
    """8 MiB of disk: data, a hole of 3 MiB, data, a tail of zeros."""
    chance = random.Random(7)
    return chance.randbytes(2 * MIB) + bytes(3 * MIB) + chance.randbytes(MIB) + bytes(2 * MIB)


@pytest.fixture(scope="session")
def raw_image(tmp_path_factory: pytest.TempPathFactory, disk_bytes: bytes) -> Path:
    path = tmp_path_factory.mktemp("raw") / "disk.raw"
    path.write_bytes(disk_bytes)
    return path


@pytest.fixture(scope="session")
def qcow2_image(raw_image: Path) -> Path:
    path = raw_image.with_suffix(".qcow2")
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw_image, path)
    return path


@pytest.fixture(scope="session")
def sha256() -> Callable[[Any], str]:
    """The checksum of a path's contents, or of bytes, as a user writes it."""
    return lambda what: "sha256:" + hashlib.sha256(what if isinstance(what, bytes) else Path(what).read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def files_below() -> Callable[[Path], list[str]]:
    """Every file below a directory, hidden ones included."""
    return lambda root: sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


@pytest.fixture
def start_python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a program beside the tests with this interpreter: ``start_python(path, request)``; ``request`` arrives as JSON."""
    started: list[subprocess.Popen[str]] = []

    def start(program: Path, **request: Any) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, str(program), json.dumps(request)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def forks() -> Iterator[subprocess.Popen[str]]:
    """The process of ``forks.py``."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(Path(__file__).with_name("forks.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def run_killed_at(forks: subprocess.Popen[str], tmp_path: Path) -> Callable[..., bool]:
    """Run a program that is killed at its n-th step; True where it ended by itself before that."""

    def run(program: Path, step: int, **request: Any) -> bool:
        assert forks.stdin is not None
        assert forks.stdout is not None
        log = tmp_path / "killed.log"
        print(json.dumps({"program": str(program), "request": {**request, "kill_at": step}, "log": str(log)}), file=forks.stdin, flush=True)
        code = int(forks.stdout.readline())
        assert code in (0, -signal.SIGKILL), log.read_text()
        return code == 0

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=False).returncode != 0:
        pytest.fail("mounting needs root", pytrace=False)
    yield place
    subprocess.run(["umount", str(place)], check=True)
