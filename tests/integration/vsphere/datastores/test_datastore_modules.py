# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``datastore_path`` and ``datastore_info`` as users run them, and the choice of a datastore by what the lab's vCenter says."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils import errors
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_listing import listing
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastores import NoDatastore, Wanted, choose, read
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.modules.conftest import Ansible
from ansible_collections.poolwright.virt.tests.integration.vsphere.datastores.staging import changes, on_disk

CONTENT = b"content" * 1000
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def ansible(tmp_path: Path) -> Ansible:
    return Ansible(tmp_path)


def defaults(vcenter: VCenter) -> dict[str, Any]:
    connection = {"hostname": vcenter.host, "port": vcenter.port, "username": vcenter.user, "password": vcenter.password}
    return {"group/poolwright.virt.vsphere": {**connection, "ca_path": vcenter.ca_path, "datacenter": "DC0"}}


def path(name: str, state: str, **options: Any) -> dict[str, Any]:
    return {"poolwright.virt.datastore_path": {"path": f"[LocalDS_0] {name}", "state": state, **options}}


def test_the_modules_in_a_play(ansible: Ansible, vcenter: VCenter, site: Site, folder: DatastorePath) -> None:
    (ansible.folder / "debian.iso").write_bytes(CONTENT)
    base, back = folder.relative, str(ansible.folder / "back.iso")
    upload = path(f"{base}/iso/debian.iso", "file", src="debian.iso", checksum=DIGEST)

    planned = ansible.play(upload, options=("--check", "--diff"), defaults=defaults(vcenter))
    assert planned.results[0]["changed"], planned.output
    assert changes(vcenter) == 0

    played = ansible.play(
        upload,
        upload,
        path(f"{base}/iso/copy.iso", "copied", src=f"[LocalDS_0] {base}/iso/debian.iso"),
        path(f"{base}/moved.iso", "moved", src=f"[LocalDS_0] {base}/iso/copy.iso"),
        path(f"{base}/moved.iso", "downloaded", src=back, checksum=DIGEST),
        path(f"{base}", "stat", recurse=True),
        path(f"{base}", "absent"),
        path(f"{base}/x", "copied"),
        {"poolwright.virt.datastore_info": {}},
        {"poolwright.virt.datastore_info": {"datastore_regex": "LocalDS_1$"}},
        path("", "absent"),
        defaults=defaults(vcenter),
    )
    first, second, copied, moved, downloaded, looked, kept, unclear, listed, one, root = played.results
    assert planned.results[0]["diff"] == first["diff"]
    assert (first["changed"], first["checksum"], second["changed"], second["checksum"]) == (True, DIGEST, False, DIGEST)
    assert (copied["changed"], moved["changed"], downloaded["changed"]) == (True, True, True)
    assert Path(back).read_bytes() == CONTENT
    assert sorted(child["path"].rpartition("/")[2] for child in looked["stat"]["children"]) == ["debian.iso", "iso", "moved.iso"]
    assert (kept["failed"], kept["code"]) == (True, "not_empty")
    assert (unclear["failed"], unclear["problems"]) == (True, ["src: needed with state: copied"])
    assert [datastore["name"] for datastore in listed["datastores"]] == ["LocalDS_0", "LocalDS_1"]
    assert [datastore["name"] for datastore in one["datastores"]] == ["LocalDS_1"]
    assert root["failed"]
    assert "root" in root["msg"]
    assert first["stats"]["logins"] == 1
    assert first["stats"]["calls"]["PUT /folder"] == 1
    assert set(first["stats"]["seconds"]) >= {"look", "change", "transfer"}
    assert on_disk(site, folder.join("iso/debian.iso")).read_bytes() == CONTENT


def test_a_listing_takes_two_reads_and_tells_where_a_datastore_is_mounted(vim: VIM, vcenter: VCenter) -> None:
    inventory = Inventory(vim, "DC0")
    listed = listing(inventory, [], Wanted())
    assert vcenter.calls()["RetrievePropertiesEx"] == 2
    assert [(one["name"], one["path"], one["datacenter"], one["type"]) for one in listed] == [
        ("LocalDS_0", "DC0/datastore/LocalDS_0", "DC0", "OTHER"),
        ("LocalDS_1", "DC0/datastore/LocalDS_1", "DC0", "OTHER"),
    ]
    assert all(one["accessible"] and 0 < one["free"] <= one["capacity"] and one["url"] for one in listed)
    hosts = [entry.name for entry in inventory.hosts_of(inventory.cluster())]
    assert {host["name"] for host in listed[0]["hosts"]} >= set(hosts)
    assert all(host["writable"] for host in listed[0]["hosts"])


def test_what_is_named_and_not_there_is_told(vim: VIM) -> None:
    with pytest.raises(errors.NotFound, match="LocalDS_1"):
        listing(Inventory(vim, "DC0"), ["LocalDS_11"], Wanted())
    with pytest.raises(errors.NotFound, match="there is no such datastore cluster"):
        listing(Inventory(vim, "DC0"), [], Wanted(cluster="fast"))


def test_a_datastore_is_chosen_among_those_that_the_cluster_mounts(vim: VIM, vcenter: VCenter) -> None:
    inventory = Inventory(vim, "DC0")
    datastores = read(inventory, cluster=inventory.cluster())
    assert vcenter.calls()["RetrievePropertiesEx"] == 2
    assert all(one.hosts for one in datastores)
    assert choose(datastores, Wanted(pattern="Local"), 1024).datastore.name in ("LocalDS_0", "LocalDS_1")
    with pytest.raises(NoDatastore, match=r"LocalDS_0: .* free; .* needed; LocalDS_1: "):
        choose(datastores, Wanted(), 1024**6)


def test_the_members_of_a_datastore_cluster_are_known_as_such(vim: VIM, vcenter: VCenter) -> None:
    # For the rest of the run: this vCenter lets no datastore out again.
    vcenter.govc("folder.create", "-pod", "/DC1/datastore/fast")
    name = Inventory(vim, "DC1").datastores()[0].name
    vcenter.govc("object.mv", f"/DC1/datastore/{name}", "/DC1/datastore/fast")
    inventory = Inventory(vim, "DC1")
    assert [(one["name"], one["cluster"]) for one in listing(inventory, [], Wanted(cluster="fast"))] == [(name, "fast")]
    assert choose(read(inventory), Wanted(cluster="fast"), 1024).datastore.name == name
