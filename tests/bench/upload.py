# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast a file comes to a datastore, beside ``curl -T``, and how much memory that takes.

Ours has its size checked at the end, and its hash is known before, or else made on the way: the lab's vCenter has to share the processors
with the client, so that what is hashed is not sent meanwhile.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site, delete_file, make_directory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer
from ansible_collections.poolwright.virt.tests.bench.children import run, weigh
from ansible_collections.poolwright.virt.tests.bench.figures import Measured, Table, Timings, aims, free, held, must
from ansible_collections.poolwright.virt.tests.bench.places import WORK
from ansible_collections.poolwright.virt.tests.bench.vcenter_stage import DATACENTER, DATASTORE, VCenterStage, vcenter_stage

_RATIO = 0.9
# What a file eight times as large may take more, of noise.
_FLAT_MB = 8.0
_BLOCK = 1024 * 1024
_PLACE = DatastorePath(DATASTORE, ("bench-upload",))

OURS, HASHED, CURL = "upload", "upload, hashed on the way", "curl -T"

# One upload in a process of its own: the lab's folder, the file, the path.
_ONE = """
import sys
from pathlib import Path
from ansible_collections.poolwright.virt.tests.bench.upload import upload_once
upload_once(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
"""


def measure(quick: bool) -> Measured:
    """:raises Wrong: an upload failed."""
    size_mb, rounds = (64, 2) if quick else (256, 7)
    with vcenter_stage("upload") as stage:
        timings = upload_rates(stage, size_mb, rounds)
        memory = {f"{mb} MB": _peak(stage, mb) for mb in (size_mb // 8, size_mb)}
    rates = {name: round(size_mb / timings.median(name), 1) for name in (OURS, HASHED, CURL)}
    ratio = timings.ratio(CURL, OURS)
    grown = memory[f"{size_mb} MB"] - memory[f"{size_mb // 8} MB"]
    rows = [[name, f"{rates[name]:.0f}", *timings.spread(name)] for name in (OURS, HASHED, CURL)]
    tables = [
        Table(f"Upload of {size_mb} MB to the lab's vCenter, {rounds} rounds", ["", "MB/s", "min", "median", "max"], rows),
        aims(
            held("rate, of curl's", ratio, "at least", _RATIO),
            free("rate where it is hashed on the way, of curl's", timings.ratio(CURL, HASHED)),
            held("more memory for a file eight times as large", grown, "at most", _FLAT_MB, " MB"),
            free("peak memory of the uploading process", memory[f"{size_mb} MB"], " MB"),
        ),
    ]
    return Measured(
        tables,
        {
            "seconds": timings.seconds,
            "mb_per_second": rates,
            "ratio": round(ratio, 3),
            "ratio_hashed": round(timings.ratio(CURL, HASHED), 3),
            "peak_mb": memory,
        },
    )


def upload_rates(stage: VCenterStage, size_mb: int, rounds: int) -> Timings:
    """Seconds of each upload of a file of random bytes, ours and curl's in turns, through sessions that are open already."""
    source = _file(stage.folder / "source", size_mb)
    clock = Clock()
    with stage.lab.vim(clock=clock) as vim:
        site = Site(vim, Inventory(vim, DATACENTER))
        deadline = Deadline.after(clock, 900.0)
        make_directory(site, _PLACE, deadline)
        transfer = Transfer(site)

        digest = transfer.upload(_PLACE.join("file"), source, deadline).sha256

        def ours(sha256: str) -> float:
            start = time.perf_counter()
            sent = transfer.upload(_PLACE.join("file"), source, deadline, sha256=sha256)
            spent = time.perf_counter() - start
            must(sent.size == size_mb * _BLOCK, f"{sent.size} bytes were sent")
            delete_file(site, _PLACE.join("file"), deadline)
            return spent

        def curl() -> float:
            url = f"https://{stage.lab.host}:{stage.lab.port}{_PLACE.join('file').url_path(DATACENTER)}"
            # Not on the command line, where everybody reads it.
            settings = stage.folder / "curl"
            cookie = vim.transport.cookie_header()["Cookie"]
            settings.write_text(f'cacert = "{stage.lab.ca_path}"\nheader = "Cookie: {cookie}"\nheader = "Expect:"\n', encoding="utf-8")
            settings.chmod(0o600)
            ended = run(["curl", "--silent", "--show-error", "--fail", "--config", str(settings), "-T", str(source), url])
            delete_file(site, _PLACE.join("file"), deadline)
            return ended.seconds

        timings = Timings()
        timings.alternate(rounds, {OURS: lambda: ours(digest), HASHED: lambda: ours(""), CURL: curl})
        delete_file(site, _PLACE, deadline)
    return timings


def upload_once(lab_folder: Path, source: str, path: str) -> None:
    """What the process whose memory is measured does."""
    from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter

    lab = VCenter(lab_folder)
    lab.attach()
    with lab.vim() as vim:
        site = Site(vim, Inventory(vim, DATACENTER))
        deadline = Deadline.after(vim.clock, 900.0)
        make_directory(site, DatastorePath.parse(path).parent, deadline)
        sent = Transfer(site).upload(DatastorePath.parse(path), source, deadline)
        delete_file(site, DatastorePath.parse(path).parent, deadline)
        print(json.dumps({"size": sent.size, "sha256": sent.sha256}))


def _peak(stage: VCenterStage, size_mb: int) -> float:
    source = _file(stage.folder / f"source-{size_mb}", size_mb)
    environment: dict[str, Any] = {"PYTHONPATH": str(WORK / "collections")}
    return weigh([sys.executable, "-c", _ONE, str(stage.lab.folder), str(source), str(_PLACE.join("weighed"))], environment)


def _file(path: Path, size_mb: int) -> Path:
    with open(path, "wb") as stream:
        for _number in range(size_mb):
            stream.write(os.urandom(_BLOCK))
    return path
