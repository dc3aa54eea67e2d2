# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""RBD where the cluster asks for keys: ours come from a keyring, libvirt's from a secret, and none is ever shown."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import libvirt
import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import AuthenticationFailed, ConnectionFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import blank
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.domain_xml import DiskDevice, DomainConfig, Platform, build_domain
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import MIB, Supplies
from ansible_collections.poolwright.virt.tests.integration.storage.conftest import Guarded, another_key

# A disk is made in a process of its own, for strace to watch. What a backend makes once per image is there before.
ONE_DISK = """
import json, sys
from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
options, image, name = json.loads(sys.argv[1])
disk_image("rbd", "rbd", name, DiskOptions(**options)).create_from_image(CachedImage(**image), 9 * 1024 * 1024, Deadline.after(Clock(), 60))
"""


def test_a_user_with_its_keyring_has_all_that_disks_need(guarded: Guarded, supplies: Supplies, soon: Deadline) -> None:
    disk = disk_image("rbd", "rbd", "web-1_root", guarded.options)
    record = disk.create_from_image(supplies.image, 9 * MIB, soon)
    disk.snapshot_create(record, "clean", soon)
    flat = disk.flatten(disk.resize(record, 10 * MIB, soon), soon)
    disk.snapshot_revert(flat, "clean", soon)
    found = io.BytesIO()
    disk.read_to(flat, found, soon)
    assert found.getvalue() == supplies.data.ljust(10 * MIB, b"\0")
    other = disk_image("rbd", "rbd", "web-1_data", guarded.options)
    assert other.create_from_func(blank, MIB, soon).size == MIB
    assert disk.free_bytes(soon) > 0
    assert other.remove(soon)
    assert disk.remove(soon)
    assert disk.remove_base(supplies.image.digest, soon)


def wrong_key(guarded: Guarded) -> DiskOptions:
    return replace(guarded.options, keyring=guarded.keyring("wrong.keyring", f"[client.virt]\n\tkey = {another_key()}\n"))


def no_keyring(guarded: Guarded) -> DiskOptions:
    return replace(guarded.options, keyring=str(guarded.folder / "nowhere.keyring"))


def damaged_keyring(guarded: Guarded) -> DiskOptions:
    return replace(guarded.options, keyring=guarded.keyring("damaged.keyring", f"[client.virt]\n\tkey = {guarded.key[:-7]}\n"))


def another_users_keyring(guarded: Guarded) -> DiskOptions:
    return replace(guarded.options, user="nobody")


@pytest.mark.parametrize("options", [wrong_key, no_keyring, damaged_keyring, another_users_keyring])
def test_who_is_not_let_in_is_told_what_to_look_at_and_no_key(
    guarded: Guarded, supplies: Supplies, soon: Deadline, options: Callable[[Guarded], DiskOptions]
) -> None:
    disk = disk_image("rbd", "rbd", "web-1_root", options(guarded))
    for attempt in (lambda: disk.exists(soon), lambda: disk.create_from_image(supplies.image, None, soon), lambda: disk.create_from_func(blank, MIB, soon)):
        with pytest.raises((AuthenticationFailed, ConnectionFailed)) as caught:
            attempt()
        assert "keyring" in caught.value.hint
        shows_no_key(guarded, json.dumps(caught.value.as_dict()) + str(caught.value) + repr(caught.value.__cause__))


def test_a_pool_that_is_not_the_users_is_refused(guarded: Guarded, supplies: Supplies, soon: Deadline) -> None:
    disk = disk_image("rbd", "tiny", "web-1_root", guarded.options)
    with pytest.raises(AuthenticationFailed, match="capabilities") as caught:
        disk.create_from_image(supplies.image, None, soon)
    assert caught.value.obj == "tiny/web-1_root"
    shows_no_key(guarded, str(caught.value))


def test_a_configuration_that_is_not_there_is_named(soon: Deadline) -> None:
    with pytest.raises(VirtError, match=r"/nowhere/ceph\.conf"):
        disk_image("rbd", "rbd", "web-1_root", DiskOptions(conf="/nowhere/ceph.conf")).exists(soon)


def test_a_disk_costs_one_process_and_no_command_line_has_the_key(guarded: Guarded, supplies: Supplies, soon: Deadline, tmp_path: Path) -> None:
    first, second = (disk_image("rbd", "rbd", name, guarded.options) for name in ("web-1_root", "web-2_root"))
    first.create_from_image(supplies.image, None, soon)
    trace = tmp_path / "trace"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    strace = ["strace", "-f", "-v", "-s", "100000", "-e", "trace=execve,fork,vfork,clone,clone3", "-e", "signal=none", "-o", str(trace)]
    asked = json.dumps([asdict(guarded.options), asdict(supplies.image), "web-2_root"])
    subprocess.run([*strace, sys.executable, "-c", ONE_DISK, asked], check=True, env=environment)
    calls = trace.read_text().splitlines()
    forks = [line for line in calls if ("clone" in line or "fork" in line) and "execve" not in line and "CLONE_THREAD" not in line and "resumed" not in line]
    assert len(forks) == 1, forks
    shows_no_key(guarded, "\n".join(calls))
    assert second.remove(soon)
    assert first.remove(soon)
    assert first.remove_base(supplies.image.digest, soon)


def test_a_guest_gets_at_its_disk_with_libvirts_secret(
    guarded: Guarded, supplies: Supplies, soon: Deadline, host: Host, connection: libvirt.virConnect
) -> None:
    """QEMU opens the disk when the guest starts, whose processors do not run yet."""
    name = f"poolwright-keys-{os.getpid()}"
    secret = host.secrets.create("ceph", name, base64.b64decode(guarded.key), private=True, ephemeral=True)
    disk = disk_image("rbd", "rbd", "web-3_root", replace(guarded.options, secret=secret))
    record = disk.create_from_image(supplies.image, None, soon)
    info = disk.libvirt_info()
    device = DiskDevice(info.type, record.format, info.source, "vda", protocol=info.protocol, hosts=info.hosts, secret=info.secret)
    config = DomainConfig(name, str(uuid.uuid4()), Platform("qemu", "x86_64"), 65536, 1, (device,))
    try:
        xml = ET.tostring(build_domain(config), encoding="unicode")
        assert guarded.key not in xml
        domain = connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)
        shows_no_key(guarded, domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE))
        domain.destroy()
    finally:
        host.secrets.delete(secret)
        disk.remove(soon)
        disk.remove_base(supplies.image.digest, soon)


def shows_no_key(guarded: Guarded, text: str) -> None:
    assert guarded.key not in text
    # Nor the part that a message might quote: the first bytes are a version and a date, and the same in all keys.
    assert guarded.key[16:30] not in text
