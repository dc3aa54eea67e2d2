# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""qemu-img and the ISO writer, as thin as they are: formats named, nothing half made, one fork."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    DeadlineExceeded,
    InsufficientResources,
    InvalidSpec,
    MissingDependency,
    OperationFailed,
    ToolFailed,
)
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img, scratch
from ansible_collections.poolwright.virt.plugins.module_utils.images.iso import NOCLOUD_LABEL, write_iso

MIB = 1024 * 1024
SEED = {"meta-data": b"instance-id: ci-1\n", "user-data": b"#cloud-config\n", "openstack/latest/meta_data.json": b"{}"}


def test_info_reads_a_file_as_what_it_is_told(tmp_path: Path, qcow2_image: Path, soon: Deadline) -> None:
    assert qemu_img.info(str(qcow2_image), "qcow2", soon) == qemu_img.ImageInfo("qcow2", 8 * MIB)
    assert qemu_img.info(str(qcow2_image), "raw", soon).format == "raw"


def test_info_names_what_an_image_refers_to(tmp_path: Path, qcow2_image: Path, soon: Deadline) -> None:
    path = str(tmp_path / "overlay")
    qemu_img.create(path, "qcow2", 16 * MIB, soon, backing=(str(qcow2_image), "qcow2"), options={"cluster_size": "4k"})
    assert qemu_img.info(path, "qcow2", soon) == qemu_img.ImageInfo("qcow2", 16 * MIB, backing=str(qcow2_image))


def test_a_resize_grows_and_never_shrinks(tmp_path: Path, soon: Deadline) -> None:
    path = str(tmp_path / "disk")
    qemu_img.create(path, "qcow2", MIB, soon)
    qemu_img.resize(path, "qcow2", 2 * MIB, soon)
    assert qemu_img.info(path, "qcow2", soon).virtual_size == 2 * MIB
    with pytest.raises(ToolFailed, match="--shrink"):
        qemu_img.resize(path, "qcow2", MIB, soon)


def test_a_conversion_keeps_contents_and_holes(tmp_path: Path, raw_image: Path, qcow2_image: Path, soon: Deadline) -> None:
    out = tmp_path / "out"
    qemu_img.convert(str(qcow2_image), "qcow2", str(out), "raw", soon)
    assert out.read_bytes() == raw_image.read_bytes()
    assert out.stat().st_blocks * 512 < 4 * MIB


def test_a_full_disk_is_told_from_other_failures(small_disk: Path, qcow2_image: Path, soon: Deadline) -> None:
    with pytest.raises(InsufficientResources, match="No space left"):
        qemu_img.convert(str(qcow2_image), "qcow2", str(small_disk / "out"), "raw", soon)


def test_no_time_left_is_a_deadline(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(DeadlineExceeded, match="qemu-img create"):
        qemu_img.create(str(tmp_path / "disk"), "raw", MIB, Deadline.after(clock, 0))


def test_an_overlay_costs_one_fork(tmp_path: Path, qcow2_image: Path) -> None:
    program = (
        "import sys\n"
        "from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline\n"
        "from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img\n"
        "qemu_img.create(sys.argv[1], 'qcow2', 1 << 30, Deadline.after(Clock(), 60), backing=(sys.argv[2], 'qcow2'))\n"
    )
    trace = tmp_path / "trace"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    strace = ["strace", "-f", "-e", "trace=execve,fork,vfork,clone,clone3", "-e", "signal=none", "-o", str(trace)]
    subprocess.run([*strace, sys.executable, "-c", program, str(tmp_path / "disk"), str(qcow2_image)], check=True, env=environment)
    calls = trace.read_text().splitlines()
    forks = [line for line in calls if ("clone" in line or "fork" in line) and "CLONE_THREAD" not in line and "resumed" not in line]
    started = [line for line in calls if "execve(" in line and "= -1" not in line]
    assert len(forks) == 1, forks
    # What stands before the tool replaces itself by it.
    assert [Path(line.split('"')[1]).name for line in started[1:]] == ["setpriv", "qemu-img"], started


# --- ISO images


def test_a_seed_is_whole_private_and_labelled(tmp_path: Path, soon: Deadline) -> None:
    path = tmp_path / "seed.iso"
    write_iso(str(path), SEED, NOCLOUD_LABEL, soon)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    data = path.read_bytes()
    assert data[32769:32774] == b"CD001"
    assert data[32768 + 40 : 32768 + 72].strip() == b"cidata"
    assert [item.name for item in tmp_path.iterdir()] == ["seed.iso"]
    out = tmp_path / "out"
    subprocess.run(["xorriso", "-osirrox", "on", "-indev", str(path), "-extract", "/", str(out)], check=True, capture_output=True)
    assert {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()} == SEED
    assert b"\x25\x2f\x45" in data  # Joliet's escape sequence


def test_a_seed_replaces_the_one_before(tmp_path: Path, soon: Deadline) -> None:
    path = tmp_path / "seed.iso"
    path.write_bytes(b"old")
    write_iso(str(path), SEED, NOCLOUD_LABEL, soon)
    assert path.stat().st_size > 2048


@pytest.mark.parametrize(
    ("files", "label"),
    [
        ({}, "cidata"),
        ({"/etc/passwd": b""}, "cidata"),
        ({"../x": b""}, "cidata"),
        ({"a//b": b""}, "cidata"),
        ({"a\0": b""}, "cidata"),
        ({"a": b""}, ""),
        ({"a": b""}, "x" * 33),
        ({"a": b""}, "-o"),
    ],
)
def test_a_seed_that_cannot_be_is_refused(tmp_path: Path, soon: Deadline, files: dict[str, bytes], label: str) -> None:
    with pytest.raises(InvalidSpec):
        write_iso(str(tmp_path / "seed.iso"), files, label, soon)
    assert list(tmp_path.iterdir()) == []


def test_without_a_tool_the_package_is_named(tmp_path: Path, soon: Deadline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingDependency, match="install the package xorriso"):
        write_iso(str(tmp_path / "seed.iso"), SEED, NOCLOUD_LABEL, soon)
    assert list(tmp_path.iterdir()) == []


def test_a_seed_nowhere_is_no_traceback(tmp_path: Path, soon: Deadline) -> None:
    with pytest.raises(OperationFailed, match="No such file"):
        write_iso(str(tmp_path / "missing" / "seed.iso"), SEED, NOCLOUD_LABEL, soon)


# --- unfinished things


def test_a_dead_makers_directory_goes_at_once_a_living_ones_stays(tmp_path: Path, files_below: Callable[[Path], list[str]]) -> None:
    dead = tmp_path / ".disk.1-0.part"
    (dead / "deep").mkdir(parents=True)
    (dead / "deep" / "image").write_bytes(b"x")
    (tmp_path / ".other.1-0.part").mkdir()
    (tmp_path / "visible.part").write_text("not ours")
    with scratch.scratch_directory(str(tmp_path), "disk") as living:
        assert stat.S_IMODE(os.stat(living).st_mode) == 0o700
        assert scratch.sweep(str(tmp_path), "disk") == [str(dead)]
        assert os.path.isdir(living)
    assert sorted(item.name for item in tmp_path.iterdir()) == [".other.1-0.part", "visible.part"]
    assert len(scratch.sweep(str(tmp_path))) == 1


def test_sweeping_while_others_begin_never_takes_theirs(tmp_path: Path) -> None:
    program = (
        "import sys, os\n"
        "from ansible_collections.poolwright.virt.plugins.module_utils.images import scratch\n"
        "for number in range(200):\n"
        "    with scratch.scratch_directory(sys.argv[1], 'x') as path:\n"
        "        open(path + '/file', 'w').close()\n"
        "        scratch.sweep(sys.argv[1])\n"
        "        assert os.path.exists(path + '/file')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], env=environment) for _time in range(4)]
    assert [process.wait(600) for process in running] == [0] * 4
    assert list(tmp_path.iterdir()) == []
