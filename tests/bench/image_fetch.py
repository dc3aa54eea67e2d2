# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast an image comes into a host's cache over http, hashed, inspected and converted, beside ``curl``, ``sha256sum`` and ``qemu-img convert``.

Both end with everything on the disk: what is only in memory would have been written by nobody.
"""

from __future__ import annotations

import functools
import http.server
import os
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.tests.bench.children import run, weigh
from ansible_collections.poolwright.virt.tests.bench.figures import Measured, Timings, aims, free, held
from ansible_collections.poolwright.virt.tests.bench.places import BENCH, WORK

_RATIO = 1.1
_MOST_MB = 80.0
_BLOCK = 1024 * 1024
_NAME = "source.qcow2"

CACHE, TOOLS = "image_cache", "curl to sha256sum, then qemu-img convert"

# One run in a process of its own: the cache, the URL, the checksum.
_ONE = """
import sys
from ansible_collections.poolwright.virt.tests.bench.image_fetch import fetch_once
fetch_once(*sys.argv[1:])
"""


def measure(quick: bool) -> Measured:
    """:raises Wrong: a run failed."""
    size_mb, rounds = (64, 2) if quick else (1024, 5)
    with _place() as folder, _serving(folder) as url:
        checksum = _image(folder, size_mb)
        timings = Timings()
        timings.alternate(rounds, {CACHE: lambda: _ours(folder, url, checksum), TOOLS: lambda: _tools(folder, url, checksum)})
        weights = {}
        for mb in (size_mb // 8, size_mb):
            checksum = _image(folder, mb)
            weights[f"{mb} MB"] = weigh(_command(folder, url, checksum), _environment())
            shutil.rmtree(folder / "cache")
    ratio = timings.ratio(CACHE, TOOLS)
    tables = [
        timings.table(f"A qcow2 image of {size_mb} MB over http, hashed and converted to raw, {rounds} rounds", [CACHE, TOOLS]),
        aims(
            held("time, of the tools'", ratio, "at most", _RATIO),
            held("peak memory", weights[f"{size_mb} MB"], "at most", _MOST_MB, " MB"),
            free("peak memory for an eighth of the image", weights[f"{size_mb // 8} MB"], " MB"),
        ),
    ]
    return Measured(tables, {"seconds": timings.seconds, "ratio": round(ratio, 3), "peak_mb": weights})


def fetch_once(root: str, url: str, checksum: str) -> None:
    """What the measured process does."""
    clock = Clock()
    ImageCache(root, clock).ensure(ImageSource(url, checksum, "qcow2", "", "raw"), Deadline.after(clock, 900.0))


@contextmanager
def _place() -> Iterator[Path]:
    BENCH.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix="image-fetch-", dir=BENCH))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """The URL of the image in a folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Nobody looks."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{_NAME}"
        finally:
            server.shutdown()
            thread.join()


def _image(folder: Path, size_mb: int) -> str:
    """Put an image of so much random data there; returns its checksum."""
    raw, image = folder / "source.raw", folder / _NAME
    with open(raw, "wb") as stream:
        for _number in range(size_mb):
            stream.write(os.urandom(_BLOCK))
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)])
    raw.unlink()
    return f"sha256:{run(['sha256sum', str(image)]).output.split()[0]}"


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(WORK / "collections"), "no_proxy": "127.0.0.1"}


def _command(folder: Path, url: str, checksum: str) -> list[str]:
    return [sys.executable, "-c", _ONE, str(folder / "cache"), url, checksum]


def _ours(folder: Path, url: str, checksum: str) -> float:
    seconds = run(_command(folder, url, checksum), _environment()).seconds
    shutil.rmtree(folder / "cache")
    return seconds


def _tools(folder: Path, url: str, checksum: str) -> float:
    image, raw = shlex.quote(str(folder / "tools.qcow2")), shlex.quote(str(folder / "tools.raw"))
    steps = [
        f"curl --silent --show-error --fail {shlex.quote(url)} | tee {image} | sha256sum | grep -q {checksum.partition(':')[2]}",
        f"sync {image}",
        f"qemu-img convert -f qcow2 -O raw {image} {raw}",
        f"sync {raw}",
    ]
    seconds = run(["bash", "-o", "pipefail", "-ec", "\n".join(steps)], _environment()).seconds
    for name in ("tools.qcow2", "tools.raw"):
        (folder / name).unlink()
    return seconds
