# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is refused before anything is made, on libvirt's test driver: with its reason and its remedy, and without a trace."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.poolwright.virt.plugins.module_utils import errors
from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.capabilities import DomainCapabilities
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import Unsupported
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.virt_type import EMULATED, choose_platform
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt import LibvirtProvider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.preflight import NotUsable, check_memory
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import DiskSpec, MachineSpec, NetworkSpec, PoolTemplate
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats


class Checked:
    """A provider whose one pool can be made, to be spoilt in one respect."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "image.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(self.image), "64M"], check=True)
        self.folder, self.location, self.clock = folder, folder / "state", Clock()
        self.spec = MachineSpec(image=ImageSource(str(self.image)), memory_mb=64, networks=(NetworkSpec("default"),))
        self.provider: LibvirtProvider | None = None

    def check(self, making: int = 2, uri: str = "test:///default", **changes: Any) -> None:
        template = PoolTemplate("ci", "ci", replace(self.spec, **changes))
        self.provider = LibvirtProvider([template], self.clock, Stats(self.clock), uri=uri, location=str(self.location))
        try:
            self.provider.check("ci", making, Deadline.after(self.clock, 30))
        finally:
            self.provider.close()
            assert not self.location.exists() or self.location.stat().st_mode & 0o200 == 0


@pytest.fixture
def checked(tmp_path: Path) -> Iterator[Checked]:
    keeper = libvirt.open("test:///default")
    yield Checked(tmp_path)
    keeper.close()


def test_what_can_be_made_passes(checked: Checked) -> None:
    checked.check()
    checked.check(disk=DiskSpec(size_gb=1))


def test_an_unknown_network_names_the_known_ones(checked: Checked) -> None:
    with pytest.raises(errors.NotFound, match="'nowhere'") as caught:
        checked.check(networks=(NetworkSpec("nowhere"),))
    assert "default" in caught.value.hint


def test_a_network_that_is_not_active_comes_with_its_remedy(checked: Checked) -> None:
    connection = libvirt.open("test:///default")
    network = connection.networkLookupByName("default")
    network.destroy()
    try:
        with pytest.raises(NotUsable) as caught:
            checked.check()
        assert "net-start default" in caught.value.hint
    finally:
        network.create()
        connection.close()


def test_an_unknown_bridge_is_refused(checked: Checked) -> None:
    with pytest.raises(errors.NotFound, match="'br-nowhere'"):
        checked.check(networks=(NetworkSpec(bridge="br-nowhere"),))


def test_a_missing_image_is_refused(checked: Checked) -> None:
    with pytest.raises(errors.NotFound, match="no such file"):
        checked.check(image=ImageSource("/nowhere.qcow2"))


def test_a_checksum_is_compared(checked: Checked) -> None:
    right = hashlib.sha256(checked.image.read_bytes()).hexdigest()
    checked.check(image=ImageSource(str(checked.image), f"sha256:{right}"))
    with pytest.raises(errors.ChecksumMismatch):
        checked.check(image=ImageSource(str(checked.image), "sha256:" + "0" * 64))


def test_a_checksum_in_a_file_is_compared(checked: Checked) -> None:
    sums = checked.folder / "SHA256SUMS"
    sums.write_text(f"{hashlib.sha256(checked.image.read_bytes()).hexdigest()}  {checked.image.name}\n")
    checked.check(image=ImageSource(str(checked.image), str(sums)))
    sums.write_text(f"{'0' * 64}  {checked.image.name}\n")
    with pytest.raises(errors.ChecksumMismatch):
        checked.check(image=ImageSource(str(checked.image), str(sums)))
    sums.write_text(f"{'0' * 64}  other.qcow2\n")
    with pytest.raises(errors.NotFound, match=r"no checksum of image\.qcow2: it has other\.qcow2"):
        checked.check(image=ImageSource(str(checked.image), str(sums)))


def test_an_image_with_a_backing_file_is_refused(checked: Checked) -> None:
    overlay = checked.folder / "overlay.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(checked.image), "-F", "qcow2", str(overlay)], check=True)
    with pytest.raises(errors.ImageRefused, match="backing"):
        checked.check(image=ImageSource(str(overlay)))


def test_a_disk_smaller_than_its_image_is_refused(checked: Checked) -> None:
    with pytest.raises(errors.ImageRefused) as caught:
        checked.check(disk=DiskSpec(size_gb=0.01))
    assert "disk.size_gb" in caught.value.hint


def test_a_directory_as_image_is_refused(checked: Checked) -> None:
    with pytest.raises(errors.ImageRefused, match="regular"):
        checked.check(image=ImageSource(str(checked.folder)))


def test_an_unknown_backend_names_the_known_ones(checked: Checked) -> None:
    with pytest.raises(errors.InvalidSpec, match="qcow2"):
        checked.check(disk=DiskSpec(backend="floppy"))


def test_a_location_that_is_a_file_is_refused(checked: Checked) -> None:
    checked.location = checked.image / "below"
    with pytest.raises(NotUsable):
        checked.check()


def test_no_image_is_refused_where_machines_are_to_be_made(checked: Checked) -> None:
    with pytest.raises(errors.InvalidSpec, match="image"):
        checked.check(image=None)


def test_memory_says_how_many_would_fit() -> None:
    check_memory(1024 * 1024, 512, 2, 0, "ci")
    with pytest.raises(errors.InsufficientResources, match="1 would fit"):
        check_memory(1024 * 1024, 512, 3, 200, "ci")


def test_pools_share_the_hosts_memory(checked: Checked) -> None:
    """The test driver's host has 3 GiB: two pools of 2 GiB do not fit, though each of them would."""
    pools = [PoolTemplate(name, name, replace(checked.spec, memory_mb=1024)) for name in ("ci", "web")]
    provider = LibvirtProvider(pools, checked.clock, Stats(checked.clock), uri="test:///default", location=str(checked.location))
    provider.check("ci", 2, Deadline.after(checked.clock, 30))
    provider.check("ci", 2, Deadline.after(checked.clock, 30))
    with pytest.raises(errors.InsufficientResources):
        provider.check("web", 2, Deadline.after(checked.clock, 30))
    provider.close()


def test_a_host_that_is_another_machine_is_refused(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disks would be made here and its guests started there."""
    monkeypatch.setattr("socket.gethostname", lambda: "controller")
    monkeypatch.setattr(Host, "hostname", lambda _host: "kvm7.example.org")
    template = PoolTemplate("ci", "ci", checked.spec)
    for ask in ("vms_in_pool", "marked_pools"):
        provider = LibvirtProvider([template], checked.clock, Stats(checked.clock), uri="qemu+ssh://kvm7/system", location=str(checked.location))
        with pytest.raises(errors.InvalidSpec, match=r"kvm7.*controller.*qemu:///system"):
            getattr(provider, ask)(*(["ci"] if ask == "vms_in_pool" else []))


def test_a_wrong_virt_type_is_refused(checked: Checked) -> None:
    with pytest.raises(errors.InvalidSpec, match="xen"):
        LibvirtProvider([], checked.clock, Stats(checked.clock), virt_type="xen")


@pytest.mark.parametrize(("offered", "works", "chosen"), [(True, True, "kvm"), (True, False, "qemu"), (False, True, "qemu")])
def test_kvm_is_used_only_where_it_is_offered_and_works(monkeypatch: pytest.MonkeyPatch, offered: bool, works: bool, chosen: str) -> None:
    def capabilities(_host: Host, virt_type: str, _machine: str = "") -> DomainCapabilities | None:
        modes = {"kvm": frozenset({"host-passthrough", "host-model"}), "qemu": frozenset({"maximum", "custom"})}[virt_type]
        return DomainCapabilities(virt_type, "x86_64", "pc", "/qemu", 255, modes) if virt_type == "qemu" or offered else None

    monkeypatch.setattr(Host, "driver", lambda _host: "QEMU")
    monkeypatch.setattr(Host, "domain_capabilities", capabilities)
    host = Host("qemu:///system", Clock(), Stats(Clock()))
    platform, warning = choose_platform(host, "auto", lambda: works)
    assert platform.virt_type == chosen
    assert platform.cpu_mode == {"kvm": "host-passthrough", "qemu": "maximum"}[chosen]
    assert warning == ("" if chosen == "kvm" else EMULATED)
    assert choose_platform(host, "qemu", lambda: works)[1] == ""
    if chosen == "qemu":
        with pytest.raises(Unsupported) as caught:
            choose_platform(host, "kvm", lambda: works)
        assert caught.value.hint
