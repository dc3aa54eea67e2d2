# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the tools for disks say when they fail, with what was done, to what, and how to mend it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InsufficientResources, NotFound, ToolFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.volume_group import VolumeGroup
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("said", "kind", "remedy"),
    [
        ("/run/lock/lvm/V_vg:aux: open failed: Permission denied", ToolFailed, "become: true"),
        ("Cannot change VG vg while PVs are missing.", ToolFailed, "vgreduce --removemissing"),
        ("Refusing activation of partial LV vg/a.  Use '--activationmode partial' to override.", ToolFailed, "physical volume back"),
        ("Volume group vg is exported", ToolFailed, "vgimport"),
        ("Check of pool vg/thin failed (status:64). Manual repair required!", ToolFailed, "lvconvert --repair"),
        ('Logical Volume "a" already exists in volume group "vg"', Busy, "choose another name"),
        ('Volume group "vg" has insufficient free space (2 extents): 5 required.', InsufficientResources, "vgextend"),
        ("Logical volume vg/a in use.", Busy, "shut the guest"),
        ('Volume group "vg" not found', NotFound, "lvs vg"),
    ],
)
def test_what_lvm_says_comes_with_its_remedy(said: str, kind: type[VirtError], remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "lvcreate"
    tool.write_text(f"#!/bin/sh\ncat >&2 <<'SAID'\n  {said}\nSAID\nexit 5\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(kind) as caught:
        VolumeGroup("vg").create("a", MIB, [], Deadline.after(Clock(), 30))
    assert (caught.value.obj, caught.value.phase) == ("vg/a", "disk")
    assert said in str(caught.value)
    assert remedy in caught.value.hint


def test_what_qemu_img_says_of_a_base_that_is_gone_comes_with_its_remedy(tmp_path: Path) -> None:
    soon, base, overlay = Deadline.after(Clock(), 30), tmp_path / "base.qcow2", tmp_path / "disk.qcow2"
    qemu_img.create(str(base), "qcow2", MIB, soon)
    qemu_img.create(str(overlay), "qcow2", MIB, soon, backing=(str(base), "qcow2"))
    base.unlink()
    with pytest.raises(ToolFailed, match="backing file") as caught:
        qemu_img.convert(str(overlay), "qcow2", str(tmp_path / "copy"), "raw", soon)
    assert str(base) in str(caught.value)
    assert "put the image into the cache again" in caught.value.hint


def test_what_qemu_img_says_of_a_damaged_disk_comes_with_its_remedy(tmp_path: Path) -> None:
    soon, disk = Deadline.after(Clock(), 30), tmp_path / "disk.qcow2"
    qemu_img.create(str(disk), "qcow2", MIB, soon)
    with open(disk, "r+b") as stream:
        # The incompatible feature "corrupt" of the header.
        stream.seek(72)
        stream.write((2).to_bytes(8, "big"))
    with pytest.raises(ToolFailed) as caught:
        qemu_img.resize(str(disk), "qcow2", 2 * MIB, soon)
    assert "qemu-img check -r all" in caught.value.hint
    subprocess.run(["qemu-img", "check", "-q", "-r", "all", disk], check=True)
    qemu_img.resize(str(disk), "qcow2", 2 * MIB, soon)
