# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A request that cannot be met is refused before anything is touched, saying what, where and how to mend it."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import VirtError
from ansible_collections.poolwright.virt.tests.contract.labs.libvirt_qemu import LibvirtQemuLab
from ansible_collections.poolwright.virt.tests.integration.pool.conftest import Simulated
from ansible_collections.poolwright.virt.tests.integration.pool.sites import Site, dummy_site, libvirt_site


@pytest.fixture
def libvirt(tmp_path: Path) -> Iterator[Site]:
    made = libvirt_site(tmp_path)
    yield made
    made.lab.cleanup()


def cached(site: Site) -> list[str]:
    """Images, records and temporary files in the cache."""
    location = Path(site.connection["location"])
    return sorted(str(path.relative_to(location)) for path in location.glob("images/**/*") if path.is_file())


def refused(site: Site, code: str, *said: str, **options: Any) -> None:
    """In check mode and in a run alike, with these words; nothing is made, and nothing is kept."""
    for check in (True, False):
        error = site.refused(site.ci(1, **options), check=check)
        assert error.code == code
        for word in said:
            assert word in str(error)
        assert error.hint
    assert site.lab.leftovers() == []
    assert cached(site) == []


def qcow2(path: Path, *options: str, size: str = "8M") -> str:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), size], check=True)
    return str(path)


def test_an_unknown_network(libvirt: Site) -> None:
    refused(libvirt, "not_found", "pools: ci: networks", "'lan'", "default", networks=[{"network": "lan"}])


def test_a_network_that_is_not_active(libvirt: Site) -> None:
    assert isinstance(libvirt.lab, LibvirtQemuLab)
    libvirt.lab.connection.networkDefineXML("<network><name>idle</name></network>")
    refused(libvirt, "not_usable", "pools: ci: networks", "'idle'", networks=[{"network": "idle"}])


def test_a_bridge_that_is_not_there(libvirt: Site) -> None:
    refused(libvirt, "not_found", "pools: ci: networks", "'br99'", networks=[{"bridge": "br99"}])


def test_a_missing_image(libvirt: Site, tmp_path: Path) -> None:
    refused(libvirt, "not_found", "pools: ci: image", "none.qcow2", image={"source": str(tmp_path / "none.qcow2")})


def test_an_image_with_another_checksum(libvirt: Site, tmp_path: Path) -> None:
    image = qcow2(tmp_path / "image.qcow2")
    wrong = "sha256:" + "0" * 64
    right = hashlib.sha256(Path(image).read_bytes()).hexdigest()
    refused(libvirt, "checksum_mismatch", "pools: ci: image", right, image={"source": image, "checksum": wrong})


def test_an_image_that_stands_on_a_host_file(libvirt: Site, tmp_path: Path) -> None:
    base = qcow2(tmp_path / "base.qcow2")
    image = qcow2(tmp_path / "image.qcow2", "-b", base, "-F", "qcow2")
    refused(libvirt, "image_refused", "pools: ci: image", "backing", image={"source": image})


def test_an_image_whose_data_is_in_a_host_file(libvirt: Site, tmp_path: Path) -> None:
    image = qcow2(tmp_path / "image.qcow2", "-o", f"data_file={tmp_path / 'data.raw'},data_file_raw=on")
    refused(libvirt, "image_refused", "pools: ci: image", "data", image={"source": image})


def test_a_vmdk_that_names_host_files_passed_off_as_raw(libvirt: Site, tmp_path: Path) -> None:
    image = tmp_path / "image.vmdk"
    image.write_text('# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 16384 FLAT "/etc/passwd" 0\n' + "\n" * 1024)
    refused(libvirt, "image_refused", "pools: ci: image", "vmdk", image={"source": str(image), "format": "raw"})


def test_an_image_that_is_not_what_it_is_said_to_be(libvirt: Site, tmp_path: Path) -> None:
    image = tmp_path / "image.raw"
    image.write_bytes(b"\0" * 1024**2)
    refused(libvirt, "image_refused", "pools: ci: image", "raw", image={"source": str(image), "format": "qcow2"})


def test_a_disk_smaller_than_its_image(libvirt: Site) -> None:
    refused(libvirt, "image_refused", "pools: ci: disk.size_gb", "smaller", disk={"size_gb": 0.001})


def test_more_memory_than_the_host_has(libvirt: Site) -> None:
    refused(libvirt, "insufficient_resources", "pools: ci: memory_mb", "would fit", memory_mb=8 * 1024**2)


def test_a_uri_that_leads_nowhere(libvirt: Site, tmp_path: Path) -> None:
    libvirt.connection["uri"] = f"qemu+unix:///system?socket={tmp_path}/none"
    refused(libvirt, "connection_failed", "libvirtd")


@pytest.mark.parametrize("name", ["<ci>", "../ci", "ci&ci", 'ci"x', "ci\n"])
@pytest.mark.parametrize("provider", ["dummy", "libvirt"])
def test_a_name_that_could_mean_something_else(tmp_path: Path, provider: str, name: str) -> None:
    site = {"dummy": dummy_site, "libvirt": libvirt_site}[provider](tmp_path)
    with pytest.raises(VirtError) as caught:
        site.run({**site.pool, "name": name, "size": 1})
    assert caught.value.code == "invalid_spec"
    assert repr(name) in caught.value.message
    site.lab.cleanup()


def test_a_path_that_is_no_dummy_database(simulated: Simulated, tmp_path: Path) -> None:
    site = simulated()
    site.connection["path"] = str(tmp_path / "text")
    (tmp_path / "text").write_text("this is no database, but it is long enough to look like one\n" * 10)
    with pytest.raises(VirtError) as caught:
        site.run(site.ci(1))
    assert caught.value.code == "connection_failed"
    assert caught.value.hint


def test_every_wrong_dummy_option_is_told_at_once(simulated: Simulated) -> None:
    site = simulated({"delays": {"creat": 1}, "fail_percent": {"create": 101}, "hosts": []})
    with pytest.raises(VirtError) as caught:
        site.run(site.ci(1))
    assert caught.value.code == "invalid_spec"
    for key in ("dummy.delays.creat", "dummy.fail_percent.create", "dummy.hosts"):
        assert key in caught.value.message
