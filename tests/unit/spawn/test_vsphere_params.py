# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user describes for a vCenter: every fault at once, each with its place."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.spawn.vsphere_params import parse_vsphere
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import Allocation
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.description import State

BASE: dict[str, Any] = {"name": "web-1", "state": "poweredon", "template": "debian"}


def test_a_full_description_is_taken_as_it_is() -> None:
    said = parse_vsphere(
        {
            **BASE,
            "folder": "/web/front/",
            "clone": "linked",
            "snapshot": "base",
            "cpus": 4,
            "cores_per_socket": 2,
            "cpu_limits": {"limit": 2000, "reservation": 500, "shares": "1500"},
            "networks": [{"network": "VM Network", "mac": "00-50-56-00-00-01"}],
            "customization": {"domain": "example.com", "addresses": [{"ip": "10.0.0.2", "netmask": "255.255.255.0"}]},
            "extra_config": {"a": 1, "b": None},
        }
    )
    assert (said.folder, said.clone, said.snapshot) == ("web/front", "linked", "base")
    assert said.cpu_limits == Allocation(2000, 500, 1500)
    assert said.networks is not None and said.networks[0].mac == "00:50:56:00:00:01"
    assert said.customization is not None and said.customization.hostname == "web-1"
    assert said.extra_config == {"a": "1", "b": ""}


def test_what_shall_be_absent_needs_no_description() -> None:
    assert parse_vsphere({"name": "web-1", "state": "absent", "folder": "web"}).state is State.ABSENT


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"template": None}, "template: give either an image or a template"),
        ({"image": {"source": "/x.vmdk"}}, "template: give either an image or a template"),
        ({"name": "a/b"}, "name: 'a/b'"),
        ({"name": "x" * 81}, "cannot be a machine's name"),
        ({"folder": "a/../b"}, "folder"),
        ({"snapshot": "base"}, "snapshot: is what a linked clone"),
        ({"memory_mb": 1023}, "no multiple of 4 MiB"),
        ({"cpus": 3, "cores_per_socket": 2}, "cores_per_socket: 3 CPUs"),
        ({"secure_boot": True, "firmware": "bios"}, "secure_boot"),
        ({"config_drive": {"user_data": "x"}, "cloud_init": {"user_data": "x"}}, "either config_drive or cloud_init"),
        ({"clone": "instant", "cpus": 2}, "cpus: an instant clone"),
        ({"clone": "instant", "config_drive": {"user_data": "x"}}, "config_drive: an instant clone"),
        ({"clone": "instant", "state": "poweredoff"}, "state: an instant clone"),
        ({"template": None, "image": {"source": "/x.iso"}}, "disk.size_gb: is missing"),
        ({"template": None, "image": {"source": "/x.vmdk"}, "clone": "instant"}, "clone: an instant clone is forked"),
        ({"template": None, "image": {"source": "/x.vmdk"}, "customization": {"hostname": "x"}}, "customization"),
        ({"template": None, "image": {"source": "/x.unknown"}}, "image.format"),
        ({"networks": [{"bridge": "br0"}]}, "bridge: is for KVM hosts"),
        ({"networks": [{"network": "n", "model": "virtio"}]}, "no card of vSphere's"),
        ({"networks": [{"network": "n", "mac": "01:50:56:00:00:01"}]}, "no address of a card"),
        ({"disks": [{"size_gb": 0}]}, r"disks\[0\].size_gb"),
        ({"disks": [{}]}, r"disks\[0\].size_gb: is missing"),
        ({"disks": [{"size_gb": 1, "content": {"swap": True}}]}, r"disks\[0\].content: is for KVM hosts"),
        ({"disk": {"size_gb": 10, "full": True}}, "disk.full: is for KVM hosts"),
        ({"disk": {"size_gb": 10, "backend": "flat"}}, "disk.backend: is for KVM hosts"),
        ({"extra_config": {"poolwright.spawn": "x"}}, "extra_config.poolwright.spawn"),
        ({"memory_limits": {"limit": 1, "reservation": 2}}, "memory_limits.reservation"),
        ({"cpu_limits": {"shares": "most"}}, "cpu_limits.shares"),
        ({"customization": {"hostname": "a b"}}, "customization.hostname"),
        ({"customization": {"addresses": [{"ip": "10.0.0.300"}]}}, "no IPv4 address"),
        ({"customization": {"addresses": [{"ip": "10.0.0.3"}]}}, "netmask: is missing"),
        ({"networks": [], "customization": {"addresses": [{}]}}, "there are 1 of them and 0 networks"),
        ({"state": "present", "wait_for_address": True}, "wait_for_address"),
    ],
)
def test_faults_are_named_with_their_place(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidSpec, match=text):
        parse_vsphere({**BASE, **options})


def test_all_faults_are_found_at_once() -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse_vsphere({**BASE, "cpus": 0, "memory_mb": 3, "folder": ".."})
    assert len(refused.value.problems) == 4


def test_secrets_are_not_shown() -> None:
    said = parse_vsphere({**BASE, "cloud_init": {"user_data": "only-for-the-guest"}})
    assert "only-for-the-guest" not in repr(said)
