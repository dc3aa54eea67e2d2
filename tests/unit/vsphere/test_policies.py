# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A storage policy by its name or id, how its service is asked, and what it makes of the choice of a datastore."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound, OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import datastores, devices
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import (
    _Writer,
    library,
    path_of,
    policy_service,
    read_answer,
    reference,
    soap_action_of,
    write_request,
)
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastores import Datastore, NoDatastore, Wanted
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.endpoint import Secret
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import Fault, NotAuthenticated, PermissionDenied
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Ambiguous, Entry
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.methods import READS, method_info
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.policies import Fit, Policy, choose
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.compare import Needs, Plan, compare
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.description import Description, DiskWish
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.mark import SpawnMark
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.observe import Seen

ID = "aa6d5a82-1c88-45da-85d3-3d74b91a5bad"
GOLD, SILVER = Policy(ID, "Gold"), Policy("f4e5bade-15a2-4805-bf8e-52318c4ce443", "Silver")
TWIN = Policy("4d5f673c-536f-11e6-beb8-9e71128cae77", "Silver")
NAMED_LIKE_AN_ID = Policy("c268da1b-b343-49f7-a468-b1deeb7078e0", ID)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("Gold", GOLD), (ID, GOLD), (ID.upper(), GOLD), (TWIN.id, TWIN)],
)
def test_a_policy_is_found_by_name_and_by_id(wanted: str, found: Policy) -> None:
    assert choose([SILVER, GOLD, TWIN, NAMED_LIKE_AN_ID], wanted) is found


def test_a_name_that_several_have_is_refused_with_their_ids() -> None:
    with pytest.raises(Ambiguous, match=f"{TWIN.id}, {SILVER.id}"):
        choose([SILVER, GOLD, TWIN], "Silver")


@pytest.mark.parametrize(("wanted", "hint"), [("gold", "is it Gold?"), ("bronze-7x", "there are: Gold, Silver")])
def test_a_name_that_none_has_is_refused_with_those_there_are(wanted: str, hint: str) -> None:
    with pytest.raises(NotFound) as refused:
        choose([SILVER, GOLD], wanted)
    assert refused.value.hint == hint


def test_a_vcenter_without_policies_says_so() -> None:
    with pytest.raises(NotFound) as refused:
        choose([], "Gold")
    assert refused.value.hint == "there are: none"


def test_its_service_is_asked_with_the_session_in_the_envelope() -> None:
    service = policy_service()
    body = write_request(service, method_info(service, "PbmRetrieveServiceContent"), [], "op-1", Secret(), Secret('"c00kie"')).decode()
    assert re.search("<vcSessionCookie[^>]*>c00kie</vcSessionCookie>", body)
    assert 'xmlns="urn:pbm"' in body
    assert (path_of(service), soap_action_of(service)) == ("/pbm/sdk", '"urn:pbm/2.0"')


def test_no_other_request_has_the_cookie_in_its_envelope() -> None:
    machine = reference("VirtualMachine", "vm-7")
    body = write_request(machine, method_info(machine, "PowerOnVM_Task"), [None], "op-1", Secret(), Secret('"c00kie"')).decode()
    assert "c00kie" not in body
    assert (path_of(machine), soap_action_of(machine)) == ("/sdk", '"urn:vim25/7.0.0.0"')


def test_neither_a_session_nor_a_token_shows_in_what_a_request_is_written_with() -> None:
    assert "s3cret" not in repr(_Writer("v", {"vcSessionCookie": "s3cret"}, "s3cret"))


PBM, VIM25 = ' xmlns:f="urn:pbm"', ' xmlns:f="urn:vim25"'
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (
            f'<f:NotAuthenticatedFault{VIM25} {XSI} xsi:type="f:NotAuthenticated"><f:object type="PbmServiceInstance">ServiceInstance</f:object>'
            "<f:privilegeId>StorageProfile.View</f:privilegeId></f:NotAuthenticatedFault>",
            NotAuthenticated,
            "StorageProfile.View",
        ),
        (
            f'<f:NoPermissionFault{VIM25}><f:object type="Folder">group-d1</f:object><f:privilegeId>StorageProfile.View</f:privilegeId></f:NoPermissionFault>',
            PermissionDenied,
            "privilege StorageProfile.View, on Folder:group-d1",
        ),
        (
            f"<f:PbmFaultNoPermissionFault{PBM}><f:missingPrivileges><f:privilegeIds>StorageProfile.View</f:privilegeIds></f:missingPrivileges>"
            "</f:PbmFaultNoPermissionFault>",
            PermissionDenied,
            "privilege StorageProfile.View",
        ),
        (f"<f:PbmFaultNoPermissionFault{PBM}/>", PermissionDenied, "no (PbmFaultNoPermission)"),
        (f"<f:PbmFaultNotFoundFault{PBM}/>", NotFound, "PbmFaultNotFound"),
        (f"<f:PbmFaultFault{PBM}/>", OperationFailed, "no"),
    ],
)
def test_a_fault_is_told_as_what_it_is_whichever_service_has_its_type(fault: str, kind: type[VirtError], told: str) -> None:
    service = policy_service()
    said = f"<soapenv:Fault><faultstring>no</faultstring><detail>{fault}</detail></soapenv:Fault>"
    envelope = f'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>{said}</soapenv:Body></soapenv:Envelope>'
    is_fault, found = read_answer(io.BytesIO(envelope.encode()), service, method_info(service, "PbmRetrieveServiceContent"))
    error = Fault.of(found).as_error()
    assert is_fault and error.code == kind.code and told in str(error)


def test_its_calls_are_reads() -> None:
    assert {"PbmCheckCompatibility", "PbmQueryProfile", "PbmRetrieveContent", "PbmRetrieveServiceContent"} <= READS


def datastore(moid: str, name: str, free: int) -> Datastore:
    return Datastore(Entry(reference("Datastore", moid), "Datastore", name, f"DC0/datastore/{name}", {}), name, "VMFS", 100, free)


def test_a_datastore_out_of_the_question_is_passed_over() -> None:
    there = [datastore("datastore-1", "ssd-1", 90), datastore("datastore-2", "ssd-2", 50)]
    choice = datastores.choose(there, Wanted(), 10, barred={"datastore-1": "not of the policy"})
    assert (choice.datastore.name, choice.rejected) == ("ssd-2", (("ssd-1", "not of the policy"),))
    with pytest.raises(NoDatastore, match="ssd-1: not of the policy"):
        datastores.choose(there, Wanted(name="ssd-1"), 10, barred={"datastore-1": "not of the policy"})


@pytest.mark.parametrize(("names", "told"), [(("ssd-1", "ssd-2"), "ssd-1, ssd-2"), ((), "none")])
def test_a_refusal_names_the_datastores_of_the_policy(names: tuple[str, ...], told: str) -> None:
    assert str(Fit(GOLD, names, {})) == f"datastores that the storage policy Gold takes: {told}"


MARK = SpawnMark("70777669-7274-8000-8000-0123456789ab", "web-1", template="tpl", clone="full", policy=SILVER.id, policy_name="Silver")
WISH = Description("web-1", template="tpl", storage_policy="Gold")


@pytest.mark.parametrize(
    ("wanted", "known"), [("Silver", True), (SILVER.id, True), (SILVER.id.upper(), True), ("silver", False), ("Gold", False), (GOLD.id, False)]
)
def test_a_machine_is_known_to_have_a_policy_by_its_name_and_its_id(wanted: str, known: bool) -> None:
    assert MARK.has_policy(wanted) is known
    assert SpawnMark.from_text(MARK.to_text()) == MARK
    assert not SpawnMark("i", "n").has_policy(wanted)


def planned(fit: Fit | None, *paths: str, mark: SpawnMark = MARK, wanted: Description = WISH) -> Plan:
    """Of a machine that is off and has disks of 10 GiB."""
    slots = devices.Slots([])
    changes = [devices.new_disk(slots, "paravirtual", 10 * devices.GIB, path=path) for path in paths]
    listed = [change.device for change in [*slots.changes, *changes]]
    hardware = library().vim.vm.VirtualHardware(numCPU=2, memoryMB=1024, numCoresPerSocket=1, device=listed)
    properties = {"config.hardware": hardware, "config.files.vmPathName": "[ssd-1] web-1/web-1.vmx", "runtime.powerState": "poweredOn"}
    return compare(wanted, Seen(reference("VirtualMachine", "vm-1"), "web-1", mark, properties), mark, None, fit)


OWN, FURTHER, FOREIGN = "[ssd-1] web-1/web-1.vmdk", "[ssd-2] web-1.0123456789ab/disk-0.vmdk", "[hdd-1] theirs/data.vmdk"


@pytest.mark.parametrize(
    ("names", "needs"),
    [(("ssd-1", "ssd-2"), Needs.NOTHING), (("ssd-1",), Needs.REBUILD), (("ssd-2", "hdd-1"), Needs.REBUILD), ((), Needs.REBUILD)],
)
def test_another_policy_needs_a_rebuild_where_it_does_not_take_all_that_the_machine_is_on(names: tuple[str, ...], needs: Needs) -> None:
    plan = planned(Fit(GOLD, names, {}), OWN, FURTHER, FOREIGN)
    assert [str(change) for change in plan.needing(needs)] == ["storage_policy Silver -> Gold"] == [str(change) for change in plan.changes]


def test_another_policy_goes_to_the_machines_own_disks_once_each() -> None:
    plan = planned(Fit(GOLD, ("ssd-1", "ssd-2"), {}), OWN, FURTHER, FOREIGN, wanted=replace(WISH, root_gb=20))
    assert plan.config["profile_id"] == ID and plan.policy == GOLD
    edits = [(devices.path_of(change.device), devices.size_of(change.device) // devices.GIB, change.profile[0].profileId) for change in plan.device_changes]
    assert edits == [(OWN, 20, ID), (FURTHER, 10, ID)]


def test_the_policy_that_it_has_is_no_change_and_goes_to_new_disks() -> None:
    for fit in (None, Fit(SILVER, (), {})):
        plan = planned(fit, OWN, wanted=replace(WISH, storage_policy="Silver", disks=(DiskWish(1),)))
        assert ([change.what for change in plan.changes], plan.policy, plan.config) == (["disks[0]"], SILVER, {})
    assert planned(None, OWN, wanted=replace(WISH, storage_policy="")) == Plan()
