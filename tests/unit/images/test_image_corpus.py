# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The corpus through the cache: what is hostile is refused with its reason and leaves nothing, no tool opens what it leads to; good ones are taken."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.inspect import inspect_file
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.tests.seeds import seeds
from ansible_collections.poolwright.virt.tests.unit.images import corpus
from ansible_collections.poolwright.virt.tests.unit.images.corpus import GOOD, HOSTILE, MIB, MOST_UNPACKED, Case, made

RUN = Path(__file__).with_name("run_corpus.py")


def offered(case: Case, path: Path, convert_to: str = "") -> dict[str, str]:
    return {"name": case.name, "path": str(path), "format": case.format, "compression": case.compression, "convert_to": convert_to}


def traced(tmp_path: Path, files: list[dict[str, str]]) -> tuple[dict[str, list[str]], list[str]]:
    """What became of each file, and every path that any process opened or any address it connected to, from strace."""
    request, log = tmp_path / "request.json", tmp_path / "trace"
    request.write_text(json.dumps({"root": str(tmp_path / "cache"), "most": MOST_UNPACKED, "files": files}))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    calls = "trace=open,openat,openat2,connect,execve"
    command = ["strace", "-f", "-qq", "-s", "4096", "-e", calls, "-e", "signal=none", "-o", str(log), sys.executable, str(RUN), str(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), log.read_text(errors="replace").splitlines()


def test_hostile_images_are_refused_and_no_tool_opens_what_they_lead_to(tmp_path: Path, qemu: Any, files_below: Any) -> None:
    files = [offered(case, made(case, tmp_path / f"case{number}", qemu), "raw") for number, case in enumerate(HOSTILE)]
    outcome, trace = traced(tmp_path, files)
    otherwise = {
        case.name: outcome[case.name] for case in HOSTILE if outcome[case.name][0] != "image_refused" or not re.search(case.why, outcome[case.name][1])
    }
    assert otherwise == {}
    assert len(HOSTILE) >= 40
    # A socket that /etc/nsswitch.conf asks for is none of an image's.
    opened = [line for line in trace if "bait" in line or "/dev/zero" in line or ("connect(" in line and "nscd" not in line)]
    assert opened == []
    ran = [line for line in trace if "execve(" in line and "qemu-img" in line]
    assert ran, "the trace does not show the tools"
    assert files_below(tmp_path / "cache") == []


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_good_images_are_taken_and_converted(tmp_path: Path, qemu: Any, cache: ImageCache, soon: Deadline, case: Case) -> None:
    path = made(case, tmp_path / "case", qemu)
    image = cache.ensure(ImageSource(str(path), None, case.format, case.compression), soon)
    assert (image.format, image.virtual_size) == (case.format, 8 * MIB)
    for target in ("raw", "qcow2"):
        converted = cache.ensure(ImageSource(str(path), None, case.format, case.compression, target), soon)
        assert (converted.format, converted.virtual_size, converted.digest) == (target, 8 * MIB, image.digest)
        # Both are read by the tool, each as what it is.
        qemu("compare", "-f", case.format, "-F", target, image.path, converted.path)


@pytest.mark.parametrize("format", ["vmdk", "vhdx", "vdi"])
@pytest.mark.parametrize("seed", seeds(gate=3, soak=12))
def test_a_fuzzed_image_is_judged_and_never_trips(tmp_path: Path, qemu: Any, soon: Deadline, format: str, seed: int) -> None:
    path = tmp_path / "image"
    corpus.filled(format)(path, path, qemu)
    chance = random.Random(seed)
    places = {"vmdk": (4, 30_000), "vdi": (68, 1100), "vhdx": (192 * 1024, 3 * MIB)}[format]
    text = path.read_bytes()
    used = [place for place in range(*places) if text[place]] or [places[0]]
    for _time in range(chance.randint(1, 8)):
        corpus.patch(path, chance.choice(used), chance.randbytes(chance.choice([1, 4, 8])))
    try:
        inspected = inspect_file(str(path), format, soon)
    except ImageRefused:
        return
    assert 0 < inspected.virtual_size <= 16 * 1024**4
    assert 0 <= inspected.allocated <= inspected.virtual_size


@pytest.mark.parametrize("format", ["vmdk", "vhdx", "vdi"])
@pytest.mark.parametrize("part", [0.001, 0.1, 0.3, 0.7, 0.9])
def test_a_cut_off_image_is_refused(tmp_path: Path, qemu: Any, soon: Deadline, format: str, part: float) -> None:
    path = tmp_path / "image"
    corpus.filled(format)(path, path, qemu)
    os.truncate(path, int(path.stat().st_size * part))
    with pytest.raises(ImageRefused):
        inspect_file(str(path), format, soon)


def test_what_a_guest_wrote_is_no_image_of_another_format(tmp_path: Path, qemu: Any, cache: ImageCache, soon: Deadline, qcow2_image: Path) -> None:
    """A disk that begins with a qcow2 header, inside a VMDK: as raw it would be taken for that by whoever probes it."""
    inner = tmp_path / "inner"
    shutil.copy(qcow2_image, inner)
    os.truncate(inner, 8 * MIB)
    qemu("convert", "-f", "raw", "-O", "vmdk", inner, tmp_path / "image")
    source = ImageSource(str(tmp_path / "image"), None, "vmdk", "", "raw")
    with pytest.raises(ImageRefused, match="bytes are of qcow2"):
        cache.ensure(source, soon)
