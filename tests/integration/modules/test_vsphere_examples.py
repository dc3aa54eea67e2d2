# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation's examples for vSphere run as they stand, on a vCenter that has what they name."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import importlib
import re
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.modules.conftest import Ansible

# A play costs more than most of what is in it.
PLAYS = [
    ("datastore_info", "datastore_path"),
    pytest.param(("image_cache", "image_cache_info", "vm_pool", "vm_pool_info", "vm_spawn"), marks=pytest.mark.any_core),
]
HOST = "https://images.example.com"
CONNECTION = ("hostname", "username", "password", "ca_path", "datacenter")
OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
<References><File ovf:href="disk.vmdk" ovf:id="file1" ovf:size="{size}"/></References>
<DiskSection><Info>Disks</Info><Disk ovf:capacity="8" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="vmdisk1" ovf:fileRef="file1"
 ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/></DiskSection>
<VirtualSystem ovf:id="appliance"><Info>A machine</Info><Name>appliance</Name>
<OperatingSystemSection ovf:id="94"><Info>The kind of installed guest operating system</Info></OperatingSystemSection>
<VirtualHardwareSection><Info>Hardware</Info>
<System><vssd:ElementName>Virtual Hardware Family</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
<vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType></System>
<Item><rasd:ElementName>1 virtual CPU(s)</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
<rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
<Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ElementName>64MB</rasd:ElementName><rasd:InstanceID>2</rasd:InstanceID>
<rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>64</rasd:VirtualQuantity></Item>
<Item><rasd:Address>0</rasd:Address><rasd:ElementName>SCSI Controller</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID>
<rasd:ResourceSubType>lsilogic</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
<Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>Disk 1</rasd:ElementName><rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource>
<rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
</VirtualHardwareSection></VirtualSystem></Envelope>
"""


class Examples:
    """What the examples name, made for real: images behind a web server and in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        raw = folder / "raw"
        raw.write_bytes(hashlib.sha256(b"image").digest() * (8 * 1024 * 1024 // 32))
        for name, options in {
            "debian-13.qcow2": ["-O", "qcow2"],
            "debian-13.vmdk": ["-O", "vmdk", "-o", "subformat=streamOptimized"],
            "disk.vmdk": ["-O", "vmdk", "-o", "subformat=streamOptimized"],
        }.items():
            subprocess.run(["qemu-img", "convert", "-f", "raw", *options, str(raw), str(folder / name)], check=True)
        ovf = folder / "appliance.ovf"
        ovf.write_text(OVF.format(size=(folder / "disk.vmdk").stat().st_size))
        with tarfile.open(folder / "appliance.ova", "w", format=tarfile.USTAR_FORMAT) as archive:
            for name in ("appliance.ovf", "disk.vmdk"):
                archive.add(folder / name, name)
        (folder / "files").mkdir()
        (folder / "files" / "debian.iso").write_bytes(b"iso" * 100_000)
        (folder / "user-data.yml").write_text("#cloud-config\n{}\n")

    def of(self, module: str, url: str) -> list[dict[str, Any]]:
        """The module's examples for vSphere, with what is only said for an example in place of what is there."""
        text = importlib.import_module(f"ansible_collections.poolwright.virt.plugins.modules.{module}").EXAMPLES
        text = text.replace(HOST, url).replace("/srv/images/", f"{self.folder}/").replace("files/debian.iso", f"{self.folder}/files/debian.iso")
        text = text.replace("/tmp/debian.iso", f"{self.folder}/fetched.iso").replace("'user-data.yml'", f"'{self.folder}/user-data.yml'")
        # The simulator neither renames its datastore nor puts its machines' disks where an example has them.
        text = text.replace("ssd-1", "LocalDS_0")
        for disk in ("templates/debian-13/debian-13.vmdk", "app-1/disk1.vmdk"):
            text = text.replace(disk, "DC0_C0_RP0_VM0/disk1.vmdk")
        tasks = []
        for task in yaml.safe_load(text):
            tasks += task.get("block", [task])
        name = f"poolwright.virt.{module}"
        return [self._true(task, name) for task in tasks if name in task and _is_for_vsphere(task[name])]

    def _true(self, task: dict[str, Any], module: str) -> dict[str, Any]:
        arguments = {key: value for key, value in task[module].items() if key not in CONNECTION}
        for described in (arguments, arguments.get("image") or {}, *((pool.get("image") or {}) for pool in arguments.get("pools") or [])):
            if re.fullmatch("sha256:[0-9a-f]{64}", str(described.get("checksum", ""))):
                path = self.folder / str(described["source"]).rpartition("/")[2]
                described["checksum"] = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        return {**task, module: arguments}


def _is_for_vsphere(arguments: dict[str, Any]) -> bool:
    # A path of the host is that of a cache in a directory.
    return arguments.get("provider", "vsphere") == "vsphere" and not str(arguments.get("path", "")).startswith("/")


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    """One with a cluster C0 and a template debian-13."""
    lab = VCenter(Path(tmp_path_factory.mktemp("vcenter")))
    lab.start("-vm", "1")
    try:
        lab.govc("object.rename", "/DC0/host/DC0_C0", "C0")
        lab.govc("folder.create", "/DC0/vm/templates")
        lab.govc("vm.clone", "-vm", "DC0_C0_RP0_VM0", "-on=false", "-folder", "/DC0/vm/templates", "debian-13")
        lab.govc("vm.markastemplate", "debian-13")
        yield lab
    finally:
        lab.stop()


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return Examples(Path(tmp_path_factory.mktemp("examples")))


@pytest.fixture(scope="module")
def url(described: Examples) -> Iterator[str]:
    """A web server with the images."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(described.folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("modules", PLAYS, ids=" ".join)
def test_the_examples_run(ansible: Ansible, vcenter: VCenter, described: Examples, url: str, modules: tuple[str, ...]) -> None:
    tasks = []
    for module in modules:
        found = described.of(module, url)
        assert found, f"the documentation of {module} has no example for vSphere"
        tasks += found
    with guests_with_an_address(vcenter, *(["web-1"] if "vm_spawn" in modules else [])):
        played = ansible.play(*tasks, defaults={"group/poolwright.virt.vsphere": connection(vcenter)})
    assert [result.get("msg", "") for result in played.results if result.get("failed")] == []
    assert len(played.results) == len(tasks), played.output
    assert vcenter.password not in played.output.split()


@contextlib.contextmanager
def guests_with_an_address(vcenter: VCenter, *names: str) -> Iterator[None]:
    """Simulated guests boot nothing: what a real one's tools report is told in their place, again and again, as soon as they are there."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(1):
            for name in names:
                with contextlib.suppress(AssertionError):
                    vcenter.govc("vm.change", "-vm", name, "-e", "SET.guest.ipAddress=192.0.2.7")

    thread = threading.Thread(target=tell)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def connection(vcenter: VCenter) -> dict[str, Any]:
    known = {"hostname": vcenter.host, "port": vcenter.port, "username": vcenter.user, "password": vcenter.password, "ca_path": vcenter.ca_path}
    return {**known, "datacenter": "DC0"}
