# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Disks that are made for a guest, with contents of all kinds: found again, told, and gone with it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.guests import record, tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.look import look
from ansible_collections.poolwright.virt.plugins.module_utils.guests.params import parse_guest
from ansible_collections.poolwright.virt.plugins.module_utils.guests.run import _foreign_disks
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.tests.unit.guests.conftest import Lab

CHOICES: dict[str, Any] = {"flat": {"preallocation": "falloc"}, "qcow2": {"cluster_size": 65536}, "ploop": {"cluster_size": 65536}}
SUFFIX = {"flat": ".raw", "qcow2": ".qcow2", "ploop": ".ploop"}


def disk(lab: Lab, name: str, backend: str = "flat", **options: Any) -> dict[str, Any]:
    return {"backend": backend, "location": str(lab.folder / "disks"), "name": name, **options}


@pytest.fixture
def seed(lab: Lab) -> Path:
    folder = lab.folder / "seed"
    folder.mkdir()
    (folder / "meta-data").write_text("instance-id: i-1\nlocal-hostname: g\n")
    (folder / "user-data").write_text("#cloud-config\n")
    return folder


@pytest.mark.parametrize("backend", sorted(SUFFIX))
def test_every_kind_of_contents_is_made_once_and_goes_with_the_guest(lab: Lab, seed: Path, backend: str) -> None:
    wanted: dict[str, Any] = {
        "memory_mb": 64,
        "disks": [
            disk(lab, "g_blank", backend, size_gb=0.002, **CHOICES[backend]),
            disk(lab, "g_scratch", backend, content={"ephemeral": "ext4", "label": "scratch"}, size_gb=0.02),
            disk(lab, "g_swap", backend, content={"swap": True}, size_gb=0.002),
            disk(lab, "g_seed", backend, content={"directory": str(seed), "as": "iso9660", "label": "cidata"}, readonly=True),
        ],
    }
    made = lab.predicted(**wanted)
    assert [one["made"] for one in made["disks"]] == [True] * 4
    assert (made["disks"][3]["readonly"], made["disks"][1]["backend"]) == (True, backend)
    assert lab.files() == sorted(f"g_{name}{SUFFIX[backend]}" for name in ("blank", "scratch", "swap", "seed"))
    again = lab.predicted(**wanted)
    assert (again["changed"], again["warnings"]) == (False, [])
    # What was said to make them is said no more: they are the guest's all the same.
    named = [{key: one[key] for key in ("backend", "location", "name")} for one in wanted["disks"]]
    assert lab.predicted(disks=named)["changed"] is False
    gone = lab.run(state="absent")
    assert (len(gone["removed"]), gone["kept"], lab.files()) == (4, [], [])


def test_what_is_on_them_is_what_was_asked_for(lab: Lab, seed: Path) -> None:
    lab.run(
        memory_mb=64,
        disks=[
            disk(lab, "g_scratch", content={"ephemeral": "ext4", "label": "scratch"}, size_gb=0.02),
            disk(lab, "g_swap", content={"swap": True, "label": "sw"}, size_gb=0.002),
            disk(lab, "g_seed", content={"directory": str(seed), "as": "iso9660", "label": "cidata"}),
        ],
    )

    def said(name: str) -> str:
        return subprocess.run(["blkid", "-p", "-o", "export", str(lab.folder / "disks" / f"{name}.raw")], capture_output=True, text=True, check=True).stdout

    assert "LABEL=scratch" in said("g_scratch") and "TYPE=ext4" in said("g_scratch")
    assert "LABEL=sw" in said("g_swap") and "TYPE=swap" in said("g_swap")
    assert "LABEL=cidata" in said("g_seed") and "TYPE=iso9660" in said("g_seed")


def test_how_a_disk_was_made_and_is_reached_is_known_when_it_is_removed(lab: Lab) -> None:
    lab.run(memory_mb=64, disks=[disk(lab, "g_a", "qcow2", size_gb=0.002, cluster_size=4096, full=True, preallocation="metadata")])
    (own,) = record.disks_of(tree.parse(lab.guest.definition()))
    assert own.options == own.place().options == DiskOptions(full=True, cluster_size=4096, preallocation="metadata")
    rbd = parse_guest({"name": "g", "state": "present", "disks": [disk(lab, "r", "rbd", conf="/etc/ceph/two.conf", user="u") | {"location": "vms"}]})
    assert rbd.disks is not None and rbd.disks[0].on is not None
    assert rbd.disks[0].on.place().options == DiskOptions(conf="/etc/ceph/two.conf", user="u")


def test_what_is_on_a_disk_is_said_when_it_is_made_and_another_word_later_is_told(lab: Lab, seed: Path) -> None:
    image = lab.folder / "image.raw"
    image.write_bytes(bytes(1024 * 1024))
    first = [disk(lab, "g_root", image={"source": str(image), "format": "raw"}), disk(lab, "g_data", content={"swap": True}, size_gb=0.002)]
    lab.run(memory_mb=64, disks=first)
    other = lab.folder / "other.raw"
    other.write_bytes(bytes(1024 * 1024))
    said = lab.predicted(disks=[{**first[0], "image": {"source": str(other), "format": "raw"}}, {**first[1], "content": "blank"}])
    assert said["changed"] is False
    assert said["warnings"] == [
        f"disks[0]: {lab.folder}/disks/g_root.raw was made from {image}, and stays so; to have it from {other}, name a new disk",
        f"disks[1]: {lab.folder}/disks/g_data.raw was made from swap, and stays so; to have it from blank, name a new disk",
    ]
    # The size alone says nothing of what is on it.
    assert lab.run(disks=[first[0], disk(lab, "g_data", size_gb=0.002)])["warnings"] == []


def test_contents_that_cannot_be_are_refused_before_anything_is_touched(lab: Lab) -> None:
    for options, error, words in (
        ({"content": {"ephemeral": "ext4"}, "size_gb": 0.001}, InvalidSpec, "too few for ext4"),
        ({"content": {"ephemeral": "ntfs"}, "size_gb": 1}, InvalidSpec, r"disks\[0\].content.ephemeral: 'ntfs' is not one of"),
        ({"content": {"directory": str(lab.folder / "none")}}, NotFound, "no such directory"),
        ({"content": {"swap": True}}, InvalidSpec, "size_gb"),
        ({"keyring": "/k", "size_gb": 1}, InvalidSpec, "has no option keyring"),
    ):
        with pytest.raises(error, match=words):
            lab.run(memory_mb=64, disks=[disk(lab, "g_a", **options)])
        assert (lab.host.guest("g"), lab.files()) == (None, [])


def test_disks_of_others_are_told_from_the_guests_own(lab: Lab) -> None:
    lab.make("shutoff")
    theirs = lab.folder / "theirs.raw"
    theirs.write_bytes(bytes(1024))
    lab.run(disks=[*lab.disks, {"path": str(theirs), "format": "raw"}])
    seen = look(lab.host, "g")
    assert seen.definition is not None
    assert _foreign_disks(seen, record.disks_of(seen.definition)) == [str(theirs)]
    assert lab.run(state="absent")["kept"] == [str(theirs)]
    assert theirs.exists()
