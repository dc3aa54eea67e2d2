# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The disks of a pool's machines, as they are declared."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import BACKEND_NAMES, DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import BACKENDS
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import spec_hash
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec_parse import parse_pools
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import DiskSpec, MachineSpec
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import Content

SECRET = "2a5b08e4-3dca-4ff9-9a1d-40389758d081"


def machine(**pool: Any) -> MachineSpec:
    return parse_pools([{"name": "ci", "size": 1, **pool}], state="present", needs_image=False)[0].machine


def refused(**pool: Any) -> str:
    with pytest.raises(InvalidSpec) as caught:
        machine(**pool)
    return "; ".join(caught.value.problems)


def digest(**pool: Any) -> str:
    return spec_hash(machine(image={"source": "/a.qcow2"}, **pool))


def test_the_names_of_all_backends_are_known_without_loading_them() -> None:
    assert set(BACKEND_NAMES) == set(BACKENDS)


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ({"disk": {"backend": "rbd"}}, "disk.location: is missing: give the pool for disks of the backend rbd"),
        ({"disk": {"backend": "lvm"}}, "disk.location: is missing: give the volume group"),
        ({"disk": {"backend": "rbd", "location": "a/b/c"}}, "disk: the location 'a/b/c' is neither a pool nor pool/namespace"),
        ({"disk": {"backend": "ploop", "location": "disks"}}, "disk.location: 'disks' is no absolute path"),
        ({"disk": {"backend": "flat", "cluster_size": 65536}}, "disk: the disk backend flat has no option cluster_size"),
        ({"disk": {"keyring": "/k"}}, "disk: the disk backend qcow2 has no option keyring"),
        ({"disk": {"backend": "rbd", "location": "rbd", "secret": SECRET}}, "secret: libvirt needs the user"),
        ({"disks": [{}]}, "disks[0].size_gb: is missing: a blank disk has no size of its own"),
        ({"disks": [{"content": {"swap": True}}]}, "disks[0].size_gb: is missing: swap has no size"),
        ({"disks": [{"size_gb": 1}, {"size_gb": 0}]}, "disks[1].size_gb: 0 is not above 0"),
        ({"disks": [{"size_gb": 1, "content": {"ephemeral": "zfs"}}]}, "disks[0].content.ephemeral: 'zfs' is not one of"),
        ({"disks": [{"size_gb": 1, "content": "blank", "image": {"source": "/x"}}]}, "disks[0].content: give either image or content"),
        ({"disks": [{"image": {"source": "x"}}]}, "disks[0].image.source: 'x' is neither a URL nor an absolute path"),
        ({"disks": [{"size_gb": 1, "backend": "lvm"}]}, "disks[0].location: is missing"),
        ({"disks": [{"size_gb": 1, "location": "/srv/../etc"}]}, "disks[0].location: '/srv/../etc' is no absolute path"),
        ({"disks": [{"size_gb": 1}] * 21}, "disks: a machine has at most 20 disks beside its root disk"),
    ],
)
def test_a_fault_is_named_with_its_disk(pool: dict[str, Any], said: str) -> None:
    assert said in refused(**pool)


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ({"disks": [{"size_gb": 1}]}, "disks: is for KVM hosts"),
        ({"disk": {"full": True}}, "disk.full: is for KVM hosts"),
        ({"disk": {"conf": "/c"}}, "disk.conf: is for KVM hosts"),
    ],
)
def test_a_machine_of_a_vcenter_has_the_disks_of_its_template(pool: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_pools([{"name": "ci", "size": 1, "template": "t", **pool}], state="present", needs_image=True, templates=True)
    assert any(said in problem for problem in caught.value.problems)


def test_a_disk_is_where_the_root_disk_is_unless_it_says_otherwise() -> None:
    root = {"backend": "rbd", "location": "vms", "conf": "/c", "user": "libvirt", "keyring": "/k", "secret": SECRET, "full": True}
    beside, elsewhere, other = machine(
        disk=root,
        disks=[
            {"size_gb": 2, "content": {"ephemeral": "ext4", "label": "data"}},
            {"size_gb": 1, "location": "fast", "user": "other"},
            {"size_gb": 1, "backend": "flat", "content": {"swap": True}},
        ],
    ).disks
    reached = DiskOptions(conf="/c", user="libvirt", keyring="/k", secret=SECRET)
    assert beside == DiskSpec("rbd", 2, "vms", reached, content=Content("ephemeral", "ext4", label="data"))
    assert elsewhere == DiskSpec("rbd", 1, "fast", DiskOptions(conf="/c", user="other", keyring="/k", secret=SECRET))
    assert other == DiskSpec("flat", 1, "", content=Content("swap"))


def test_machines_made_before_there_were_further_disks_are_not_outdated() -> None:
    assert digest() == digest(disks=[]) == digest(disk={"full": False, "preallocation": "off"}) == "55574adb5a14fc6b"


def test_a_machine_is_rebuilt_when_its_disks_change_but_not_when_they_are_reached_otherwise() -> None:
    rbd = {"backend": "rbd", "location": "vms", "conf": "/c", "user": "u"}
    others = [
        digest(),
        digest(disk={"full": True}),
        digest(disk={"extended_l2": True}),
        digest(disks=[{"size_gb": 1}]),
        digest(disks=[{"size_gb": 2}]),
        digest(disks=[{"size_gb": 1}, {"size_gb": 1}]),
        digest(disks=[{"size_gb": 1, "backend": "flat"}]),
        digest(disks=[{"size_gb": 1, "content": {"swap": True}}]),
        digest(disks=[{"size_gb": 1, "content": {"ephemeral": "ext4"}}]),
        digest(disks=[{"size_gb": 1, "content": {"ephemeral": "ext4", "label": "x"}}]),
        digest(disks=[{"size_gb": 1, "image": {"source": "/x.qcow2"}}]),
        digest(disk=rbd),
        digest(disk={**rbd, "user": "other"}),
        digest(disk={**rbd, "conf": "/other"}),
    ]
    assert len(set(others)) == len(others)
    assert digest(disk=rbd) == digest(disk={**rbd, "keyring": "/k"})
    lvm = {"backend": "lvm", "location": "vg"}
    assert digest(disk=lvm) == digest(disk={**lvm, "clear": "zero"})
