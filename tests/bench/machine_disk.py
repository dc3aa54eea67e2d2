# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a machine's disk from a cached image costs on each backend, beside the one command of the bare tool that makes such a disk.

Both run in one process, in turns, and end with the disk's bytes on the storage. LVM is measured under the kernel of the
guest that ``tests/lab/in-guest.sh`` starts, the bare tool there too.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import mkdtemp

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import ceph_client
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.volume_bases import base_name
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.tests.bench.children import run
from ansible_collections.poolwright.virt.tests.bench.figures import Measured, Table, Timings, aims, free, held, must
from ansible_collections.poolwright.virt.tests.bench.places import BENCH, ROOT, WORK
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.lvm import LvmLab, LvmThinLab

MIB = 1024 * 1024
_MOST_MS = 30.0
_NAME = "web-1_root"
_CEPH = WORK / "lab" / "ceph" / "ceph.conf"
_OVERLAYS = ("qcow2", "rbd", "lvm_thin")
KEPT = "rbd, connected"


@dataclass(frozen=True)
class Field:
    """Where one backend is measured. ``bare`` makes the same disk without us; ``clear`` goes before each of ours, and is not timed."""

    name: str
    disk: Image
    bare: Callable[[CachedImage], Sequence[Sequence[str]]]
    unbare: Callable[[], Sequence[Sequence[str]]]
    clear: Callable[[], None] = lambda: None


def measure(quick: bool) -> Measured:
    """:raises Wrong: the lab could not be started, or a tool failed."""
    rounds, small, large = (3, 4, 16) if quick else (21, 16, 512)
    must(os.geteuid() == 0, "the backends need root; run make bench as root")
    lab = subprocess.run([str(ROOT / "tests" / "lab" / "lab"), "up"], capture_output=True, text=True, check=False)
    must(lab.returncode == 0, f"the lab could not be started: {lab.stderr}")
    with _place() as folder:
        images = {f"{mb} MB": _image(folder, mb) for mb in (small, large)}
        timings = _contests(_here(folder), images, rounds)
        timings.seconds |= _in_guest(folder, rounds, small)
    names = sorted({name.split(": ")[0] for name in timings.seconds}, key=list(dict.fromkeys(name.split(": ")[0] for name in timings.seconds)).index)
    tables = [_table(timings, names, images), aims(*_aims(timings, names, images))]
    return Measured(tables, {"seconds": timings.seconds})


def _table(timings: Timings, names: Sequence[str], images: dict[str, CachedImage]) -> Table:
    rows = []
    for name in names:
        for size in images:
            for who in ("bare", "ours"):
                if f"{name}: {size}: {who}" in timings.seconds:
                    rows.append([f"`{name}`", size, who, *timings.spread(f"{name}: {size}: {who}")])
    return Table("A disk from a cached image", ["backend", "the image's data", "made by", "min", "median", "max"], rows)


def _aims(timings: Timings, names: Sequence[str], images: dict[str, CachedImage]) -> list[list[str]]:
    small, large = images
    rows = []
    for name in names:
        more = _difference(timings, f"{name}: {small}: ours", f"{name}: {small}: bare")
        rows.append(held(f"`{name}`: ours, more than the bare tool", more, "at most", _MOST_MS, " ms"))
    for name in names:
        if name in _OVERLAYS and f"{name}: {large}: ours" in timings.seconds:
            more = _difference(timings, f"{name}: {large}: ours", f"{name}: {small}: ours")
            rows.append(free(f"`{name}`: a disk of the image with {large}, more than of that with {small}", more, " ms"))
    return rows


def _difference(timings: Timings, name: str, other: str) -> float:
    """Milliseconds: the median over the rounds."""
    return 1000 * median(mine - theirs for mine, theirs in zip(timings.seconds[name], timings.seconds[other]))


def _contests(fields: Sequence[Field], images: dict[str, CachedImage], rounds: int) -> Timings:
    timings = Timings()
    for field in fields:
        contenders: dict[str, Callable[[], float]] = {}
        for size, image in images.items():
            # What a backend makes once per image is there before.
            field.disk.create_from_image(image, None, _soon())
            field.disk.remove(_soon())
            contenders[f"{field.name}: {size}: bare"] = _timed_bare(field, image)
            contenders[f"{field.name}: {size}: ours"] = _timed_ours(field, image)
        print(f"   {field.name}", file=sys.stderr, flush=True)
        timings.alternate(rounds, contenders)
        for image in images.values():
            field.disk.remove_base(image.digest, _soon())
    return timings


def _timed_bare(field: Field, image: CachedImage) -> Callable[[], float]:
    def once() -> float:
        start = time.perf_counter()
        for argv in field.bare(image):
            _tool(argv)
        seconds = time.perf_counter() - start
        for argv in field.unbare():
            _tool(argv)
        return seconds

    return once


def _timed_ours(field: Field, image: CachedImage) -> Callable[[], float]:
    def once() -> float:
        field.clear()
        start = time.perf_counter()
        field.disk.create_from_image(image, None, _soon())
        seconds = time.perf_counter() - start
        field.disk.remove(_soon())
        return seconds

    return once


def _here(folder: Path) -> list[Field]:
    """Those that need no other kernel."""
    target, conf = str(folder / "bare"), DiskOptions(conf=str(_CEPH))
    gone = [["rm", target]]
    rbd = ["rbd", "--conf", str(_CEPH)]

    def clone(image: CachedImage) -> list[list[str]]:
        backing = disk_image("rbd", "rbd", _NAME, conf).plan_from_image(image, None).backing
        return [[*rbd, "clone", "--rbd-default-clone-format=2", backing.path if backing else "", "rbd/bench-bare"]]

    def forget() -> list[list[str]]:
        return [[*rbd, "rm", "--no-progress", "rbd/bench-bare"]]

    return [
        Field(
            "flat",
            disk_image("flat", str(folder), _NAME),
            lambda image: [["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image.path, target], ["sync", target]],
            lambda: gone,
        ),
        Field(
            "qcow2",
            disk_image("qcow2", str(folder), _NAME),
            lambda image: [["qemu-img", "create", "-q", "-f", "qcow2", "-b", image.path, "-F", "qcow2", target]],
            lambda: gone,
        ),
        Field(
            "ploop",
            disk_image("ploop", str(folder), _NAME),
            lambda image: [["qemu-img", "convert", "-f", "qcow2", "-O", "parallels", image.path, target], ["sync", target]],
            lambda: gone,
        ),
        Field("rbd", disk_image("rbd", "rbd", f"bench-{_NAME}", conf), clone, forget, ceph_client.stop_idle),
        Field(KEPT, disk_image("rbd", "rbd", f"bench-{_NAME}", conf), clone, forget),
    ]


# -- under the guest's kernel


def _in_guest(folder: Path, rounds: int, size_mb: int) -> dict[str, list[float]]:
    program = f"from {__name__} import guest_side; guest_side({str(folder)!r}, {rounds}, {size_mb})"
    settings = {"POOLWRIGHT_IN_GUEST": "1", "PYTHONPATH": str(WORK / "collections"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = f"env {' '.join(f'{key}={shlex.quote(value)}' for key, value in settings.items())} {shlex.quote(sys.executable)} -c {shlex.quote(program)}"
    visible = [part for directory in sorted({ROOT.resolve(), Path(sys.prefix).resolve()}) for part in ("-r", str(directory))]
    run([str(ROOT / "tests" / "lab" / "in-guest.sh"), "-w", str(folder), *visible, command])
    found: dict[str, list[float]] = json.loads((folder / "guest.json").read_text(encoding="utf-8"))
    return found


def guest_side(folder: str, rounds: int, size_mb: int) -> None:
    """What runs in the guest."""
    thick, thin = LvmLab(Path("/tmp/thick")), LvmThinLab(Path("/tmp/thin"))
    for lab in (thick, thin):
        lab.start()
    image = _image(Path("/tmp"), size_mb)
    bare = f"{thick.group}/bare"

    def copy(image: CachedImage) -> list[list[str]]:
        create = ["lvcreate", "--yes", "--wipesignatures", "n", "--name", "bare", "--size", f"{image.virtual_size}b", thick.group]
        return [create, ["qemu-img", "convert", "-n", "-f", "qcow2", "-O", "raw", image.path, f"/dev/{bare}"]]

    def snapshot(image: CachedImage) -> list[list[str]]:
        return [["lvcreate", "--yes", "--snapshot", "--setactivationskip", "n", "--name", "bare", f"{thin.group}/{base_name('lab-pool', image)}"]]

    fields = [
        Field("lvm", disk_image("lvm", thick.location, _NAME), copy, lambda: [["lvremove", "--yes", bare]]),
        Field("lvm_thin", disk_image("lvm", thin.location, _NAME), snapshot, lambda: [["lvremove", "--yes", f"{thin.group}/bare"]]),
    ]
    timings = _contests(fields, {f"{size_mb} MB": image}, rounds)
    Path(folder, "guest.json").write_text(json.dumps(timings.seconds), encoding="utf-8")


# -- inside


@contextmanager
def _place() -> Iterator[Path]:
    BENCH.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix="machine-disk-", dir=BENCH))
    try:
        yield folder
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)


def _image(folder: Path, size_mb: int) -> CachedImage:
    """A qcow2 image with so much random data, as the cache would hand it out."""
    raw, image = folder / "source.raw", folder / f"{size_mb}.qcow2"
    with open(raw, "wb") as stream:
        for _number in range(size_mb):
            stream.write(os.urandom(MIB))
    _tool(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)])
    raw.unlink()
    digest = subprocess.run(["sha256sum", str(image)], capture_output=True, text=True, check=True).stdout.split()[0]
    return CachedImage(str(image), f"sha256:{digest}", "qcow2", size_mb * MIB, image.stat().st_size, size_mb * MIB)


def _tool(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    must(done.returncode == 0, f"{argv[0]} ended with status {done.returncode}: {done.stderr}")


def _soon() -> Deadline:
    return Deadline.after(Clock(), 300.0)
