# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Disks on Ceph for which a key is given: libvirt's secret is made for it, shown to nobody, and used again."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.rbd import RbdLab
from ansible_collections.poolwright.virt.tests.contract.labs.own_libvirtd import NETWORK
from ansible_collections.poolwright.virt.tests.integration.libvirt.conftest import TINY
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.conftest import NAME, Lab
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.test_backends import forget_bases
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.test_killed import is_killed

KEY = base64.b64encode(b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00" + b"0123456789abcdef").decode()


@pytest.fixture
def disk(lab: Lab) -> Iterator[dict[str, Any]]:
    """Of a user with a key; the lab's cluster lets in whoever comes."""
    ceph = RbdLab(lab.folder)
    ceph.start()
    ceph.begin()
    keyring = lab.folder / "keyring"
    keyring.write_text(f"[client.admin]\n\tkey = {KEY}\n")
    place: dict[str, Any] = {"backend": "rbd", "location": "rbd", "conf": ceph.options.conf, "keyring": str(keyring)}
    try:
        yield {**place, "name": f"{NAME}_root", "image": {"source": str(TINY), "format": "qcow2"}}
    finally:
        lab.run(state="absent")
        for uuid in secrets(lab):
            assert lab.daemon is not None
            lab.daemon.virsh("secret-undefine", uuid)
        forget_bases(ceph)
        ceph.end()
        ceph.stop()


def secrets(lab: Lab) -> list[str]:
    assert lab.daemon is not None
    return [line.split()[0] for line in lab.daemon.virsh("secret-list").splitlines() if line.strip()]


def test_the_secret_is_made_with_the_guest_and_the_guest_boots_with_it(lab: Lab, disk: dict[str, Any]) -> None:
    wanted: dict[str, Any] = {"memory_mb": 192, "disks": [disk], "networks": [{"network": NETWORK}], "state": "running"}
    predicted = lab.run(check=True, **wanted)
    assert secrets(lab) == []
    made = lab.booted(**wanted)
    assert lab.answer(made).startswith("SSH-2.0-tiny_")
    (uuid,) = secrets(lab)
    assert uuid in lab.xml() and uuid in predicted["diff"]["after"]
    assert predicted["actions"][0].startswith("make the secret client.admin at ")
    assert lab.daemon is not None
    assert "private='yes'" in lab.daemon.virsh("secret-dumpxml", uuid)
    for said in (json.dumps([predicted, made]), lab.xml(), lab.xml(live=True), (lab.daemon.folder / "libvirtd.log").read_text(errors="replace")):
        assert KEY not in said and "0123456789abcdef" not in said
    assert lab.run(**wanted)["changed"] is False


def test_it_is_used_again_made_again_and_gets_a_new_key(lab: Lab, disk: dict[str, Any]) -> None:
    lab.run(memory_mb=64, disks=[disk])
    (uuid,) = secrets(lab)
    second = {**disk, "name": "g-2_root"}
    try:
        assert not [action for action in lab.run(name="g-2", memory_mb=64, disks=[second])["actions"] if "secret" in action]
    finally:
        lab.run(name="g-2", state="absent")
    assert lab.daemon is not None
    newer = base64.b64encode(b"another key").decode()
    Path(disk["keyring"]).write_text(f"[client.admin]\n\tkey = {newer}\n")
    assert lab.run(disks=[disk])["changed"] is False
    (kept,) = lab.daemon.folder.rglob(f"{uuid}.base64")
    assert kept.read_text() == newer
    lab.daemon.virsh("secret-undefine", uuid)
    assert lab.run(disks=[disk])["actions"] == [f"make the secret client.admin at {cluster(disk)}"]
    assert secrets(lab) == [uuid]


def cluster(disk: dict[str, Any]) -> str:
    (line,) = [line for line in Path(disk["conf"]).read_text().splitlines() if line.strip().startswith("fsid")]
    return line.partition("=")[2].strip()


def test_a_secret_of_somebody_else_is_used_as_it_is(lab: Lab, disk: dict[str, Any]) -> None:
    theirs = {key: value for key, value in disk.items() if key != "keyring"}
    uuid = "11111111-2222-4333-8444-555555555555"
    with pytest.raises(NotFound, match="has no secret"):
        lab.run(memory_mb=64, disks=[{**theirs, "user": "admin", "secret": uuid}])
    assert lab.daemon is not None and lab.daemon.virsh("list", "--all", "--name") == ""
    xml = f"<secret private='yes'><uuid>{uuid}</uuid><usage type='ceph'><name>theirs</name></usage></secret>"
    lab.daemon.virsh("secret-define", "/dev/stdin", stdin=xml)
    lab.run(memory_mb=64, disks=[{**theirs, "user": "admin", "secret": uuid}])
    assert uuid in lab.xml() and secrets(lab) == [uuid]


def test_a_keyring_that_cannot_be_used_is_said_before_anything_is_touched(lab: Lab, disk: dict[str, Any]) -> None:
    Path(disk["keyring"]).write_text(f"[client.other]\n\tkey = {KEY}\n")
    with pytest.raises(InvalidSpec, match="has no key of the user admin; it has those of: other") as caught:
        lab.run(memory_mb=64, disks=[disk])
    assert KEY not in str(caught.value)
    assert lab.daemon is not None and lab.daemon.virsh("list", "--all", "--name") == ""


def test_a_run_that_was_killed_with_the_secret_half_made_is_finished(lab: Lab, disk: dict[str, Any]) -> None:
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": [disk]}
    # Before and after it is defined, and before and after it gets its value.
    for point in range(4):
        assert is_killed(lab, point, wanted)
        lab.run(**wanted)
        (uuid,) = secrets(lab)
        assert lab.daemon is not None
        (kept,) = lab.daemon.folder.rglob(f"{uuid}.base64")
        assert kept.read_text() == KEY
        lab.run(state="absent")
        lab.daemon.virsh("secret-undefine", uuid)


def test_a_namespace_that_this_libvirt_would_not_find_is_refused(lab: Lab, disk: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec, match=r"does not pass an RBD namespace on to QEMU.*use the pool itself: rbd"):
        lab.run(memory_mb=64, disks=[{**disk, "location": "rbd/space"}])
    assert lab.daemon is not None and (secrets(lab), lab.daemon.virsh("list", "--all", "--name")) == ([], "")
