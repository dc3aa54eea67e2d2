# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Storage policies on a vCenter: found by name, held against its datastores, and what ``vm_spawn`` makes of them."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import ConnectionFailed, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastores import NoDatastore
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import NotAuthenticated, PermissionDenied
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Ambiguous, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.policies import Policies, Policy
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.outcome import NeedsRebuild
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transport import CertificateRefused, NotVsphere
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.vsphere.spawning import Spawning, raw_image
from ansible_collections.poolwright.virt.tests.integration.vsphere.staging import Way

CALLS = ("PbmRetrieveServiceContent", "PbmQueryProfile", "PbmRetrieveContent", "PbmCheckCompatibility")
VSAN = Policy("aa6d5a82-1c88-45da-85d3-3d74b91a5bad", "vSAN Default Storage Policy")
TEMPLATE = "DC0_C0_RP0_VM0"  # on LocalDS_0


def make_policy(vcenter: VCenter, name: str, *datastores: str) -> Iterator[Policy]:
    """Made from outside, for the datastores of these names; see ``tests/lab/vcenter/policy.go``."""
    made = vcenter.govc("storage.policy.create", "-category", "datastore", "-tag", ",".join(datastores), name)
    yield Policy(made, name)
    vcenter.govc("storage.policy.rm", made)


@pytest.fixture
def gold(spawning: Spawning) -> Iterator[Policy]:
    yield from make_policy(spawning.vcenter, "Gold", "LocalDS_1")


@pytest.fixture
def nowhere(spawning: Spawning) -> Iterator[Policy]:
    yield from make_policy(spawning.vcenter, "Nowhere", "no-such-datastore")


@pytest.fixture
def vim(spawning: Spawning) -> Iterator[VIM]:
    with spawning.vcenter.vim() as made:
        yield made


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The arguments of the last call of each method."""
    found: dict[str, dict[str, Any]] = {}
    call = VIM.call

    def noted(vim: VIM, obj: Any, method: str, /, **arguments: Any) -> Any:
        found[method] = arguments
        return call(vim, obj, method, **arguments)

    monkeypatch.setattr(VIM, "call", noted)
    return found


def profiles(said: Any) -> list[str]:
    return [one.profileId for one in said or ()]


def pbm_calls(spawning: Spawning) -> int:
    return sum(spawning.calls[method] for method in CALLS)


def test_policies_are_listed_as_others_see_them(spawning: Spawning, vim: VIM, gold: Policy) -> None:
    listed = Policies(vim).listed()
    assert gold in listed and VSAN in listed
    told = spawning.vcenter.govc("storage.policy.ls").splitlines()
    assert sorted((one.id, one.name) for one in listed) == sorted(tuple(line.split("  ", 1)) for line in told)


def test_a_policy_says_which_datastores_it_takes_and_why_not_the_others(spawning: Spawning, vim: VIM, gold: Policy) -> None:
    policies, there = Policies(vim), Inventory(vim).datastores()
    spawning.vcenter.forget_calls()
    fit = policies.fit(policies.policy("Gold"), there)
    assert fit.names == ("LocalDS_1",)
    assert list(fit.reasons) == [one.moid for one in there if one.name == "LocalDS_0"]
    assert "does not take it (it lacks the tag LocalDS_1" in "".join(fit.reasons.values())
    calls = spawning.vcenter.calls()
    assert [calls[method] for method in CALLS] == [1, 1, 1, 1]
    assert calls.total == 4
    assert policies.fit(VSAN, there).names == ("LocalDS_0", "LocalDS_1")


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("loss", ["drop-before", "drop-after", "truncated", "unavailable"])
def test_a_lost_answer_is_asked_for_again(spawning: Spawning, vim: VIM, gold: Policy, method: str, loss: str) -> None:
    spawning.vcenter.chaos(method, loss, times=2)
    policies = Policies(vim)
    assert policies.fit(policies.policy("Gold"), Inventory(vim).datastores()).names == ("LocalDS_1",)


def test_a_session_that_ended_is_opened_again(spawning: Spawning, vim: VIM, gold: Policy) -> None:
    policies = Policies(vim)
    assert policies.policy("Gold") == gold
    spawning.vcenter.expire_sessions()
    spawning.vcenter.forget_calls()
    assert policies.policy("Gold") == gold
    assert spawning.vcenter.calls()["Login"] == 1


@pytest.mark.parametrize("method", CALLS[1:])
def test_a_session_that_it_does_not_know_is_opened_again_once(spawning: Spawning, vim: VIM, method: str) -> None:
    policies = Policies(vim)
    spawning.vcenter.fault(method, "NotAuthenticated", times=0)
    spawning.vcenter.forget_calls()
    with pytest.raises(NotAuthenticated):
        policies.fit(policies.policy(VSAN.name), Inventory(vim).datastores())
    calls = spawning.vcenter.calls()
    assert (calls["Login"], calls[method]) == (2, 2)
    spawning.vcenter.calm()
    assert VSAN in policies.listed()


@pytest.mark.parametrize(("fault", "told"), [("PbmFaultNoPermission", "privilege StorageProfile.View"), ("NoPermission", "NoPermission")])
@pytest.mark.parametrize("method", CALLS)
def test_without_the_privilege_its_name_is_told(spawning: Spawning, vim: VIM, method: str, fault: str, told: str) -> None:
    policies = Policies(vim)
    spawning.vcenter.fault(method, fault)
    spawning.vcenter.forget_calls()
    with pytest.raises(PermissionDenied, match=told) as refused:
        policies.fit(policies.policy(VSAN.name), Inventory(vim).datastores())
    assert refused.value.phase == "storage policy" and "privilege" in refused.value.hint
    calls = spawning.vcenter.calls()
    assert (calls["Login"], calls[method]) == (1, 1), "nothing is tried again"


def test_its_service_is_believed_by_the_same_certificate(spawning: Spawning) -> None:
    with spawning.vcenter.vim() as vim:
        policies = Policies(vim)
        assert VSAN in policies.listed()
        # From here on every connection is a new one, to a server that is not the right one any more.
        vim._session._transport.close()
        vim._session._transport.endpoint = replace(vim.endpoint, ca_path="", thumbprint="ab" * 32)
        vim._session._transport._context = None
        spawning.vcenter.forget_calls()
        with pytest.raises(CertificateRefused):
            policies.listed()
        assert spawning.vcenter.calls().total == 0


def test_its_service_is_asked_through_the_proxy(spawning: Spawning) -> None:
    way = Way((spawning.vcenter.host, spawning.vcenter.port), proxy=True)
    way.open()
    try:
        with spawning.vcenter.vim(proxy_host=way.host, proxy_port=way.port) as vim:
            spawning.vcenter.forget_calls()
            assert VSAN in Policies(vim).listed()
            asked = spawning.vcenter.calls()
        assert asked["PbmQueryProfile"] == 1 and asked.connections == len(way.asked_for)
    finally:
        way.close()


@pytest.mark.parametrize("trouble", ["NoPermission", "truncated", "not-found"])
def test_no_error_shows_the_session(spawning: Spawning, trouble: str) -> None:
    with spawning.vcenter.vim() as vim:
        policies = Policies(vim)
        assert VSAN in policies.listed()
        cookie = vim._session._transport.cookie.reveal().strip('"')
        assert len(cookie) > 8
        (spawning.vcenter.fault if trouble == "NoPermission" else spawning.vcenter.chaos)("PbmQueryProfile", trouble, times=0)
        with pytest.raises(VirtError) as caught:
            policies.listed()
        spawning.vcenter.calm()
        # As the most talkative of tools would show it, with what each frame of the collection's own holds.
        frames = caught.value.__traceback__.tb_next if caught.value.__traceback__ is not None else None
        shown = "".join(traceback.TracebackException(VirtError, caught.value, frames, capture_locals=True).format())
        assert "in listed" in shown
        assert cookie not in shown and spawning.vcenter.password not in shown
        assert cookie not in f"{caught.value!r}{caught.value.hint}{vim!r}"


def test_where_the_service_is_missing_its_path_is_told(spawning: Spawning, vim: VIM) -> None:
    spawning.vcenter.chaos("PbmRetrieveServiceContent", "not-found")
    with pytest.raises(NotVsphere) as refused:
        Policies(vim).listed()
    assert "/pbm/sdk" in refused.value.hint


def test_a_service_that_never_answers_is_given_up(spawning: Spawning) -> None:
    spawning.vcenter.chaos("PbmQueryProfile", "unavailable")
    with spawning.vcenter.vim() as vim, pytest.raises(ConnectionFailed, match="given up after 5 attempts"):
        Policies(vim).listed()


@pytest.mark.parametrize("by", ["name", "id"])
def test_a_clone_goes_to_a_datastore_of_its_policy_and_carries_it(spawning: Spawning, gold: Policy, sent: dict[str, dict[str, Any]], by: str) -> None:
    wish: dict[str, Any] = {"template": TEMPLATE, "name": f"policy-{by}", "state": "poweredoff", "storage_policy": getattr(gold, by), "disks": [{"size_gb": 1}]}
    foretold = spawning.run(check_mode=True, **wish)
    assert spawning.mutations() == {} and pbm_calls(spawning) == 4
    made = spawning.run(**wish)
    assert pbm_calls(spawning) == 4
    assert (foretold["actions"], foretold["diff"]) == (made["actions"], made["diff"])
    assert made["datastore_path"].startswith(f"[LocalDS_1] policy-{by}")
    spec = sent["CloneVM_Task"]["spec"]
    assert profiles(spec.location.profile) == profiles(spec.config.vmProfile) == [gold.id]
    added = [change for change in spec.config.deviceChange if change.fileOperation == "create"]
    assert [profiles(change.profile) for change in added] == [[gold.id]]
    again = spawning.run(**wish)
    assert not again["changed"] and pbm_calls(spawning) == 0
    assert spawning.run(name=wish["name"], state="absent")["changed"]


@pytest.mark.parametrize("clone", ["linked", "full"])
def test_a_machine_of_an_image_goes_to_a_datastore_of_its_policy_and_carries_it(
    spawning: Spawning, gold: Policy, sent: dict[str, dict[str, Any]], tmp_path: Path, clone: str
) -> None:
    image = {"source": str(raw_image(tmp_path / "disk.raw")), "format": "raw"}
    made = spawning.run(name=f"policy-{clone}", image=image, clone=clone, state="poweredoff", storage_policy="Gold")
    assert made["datastore_path"].startswith("[LocalDS_1]")
    assert all(disk["path"].startswith("[LocalDS_1]") for disk in made["disks"])
    assert profiles(sent["CreateVM_Task"]["config"].vmProfile) == [gold.id]
    carrier = sent["CreateVM_Task"]["config"] if clone == "linked" else sent["ReconfigVM_Task"]["spec"]
    disks = [change for change in carrier.deviceChange if hasattr(change.device, "capacityInKB")]
    assert [profiles(change.profile) for change in disks] == [[gold.id]]
    spawning.run(name=made["name"], state="absent")


def test_a_policy_that_takes_all_leaves_the_clone_with_its_template(spawning: Spawning) -> None:
    made = spawning.run(template=TEMPLATE, name="policy-all", state="poweredoff", storage_policy=VSAN.id.upper())
    assert made["datastore_path"].startswith("[LocalDS_0]")
    spawning.run(name="policy-all", state="absent")


def test_what_does_not_fit_is_refused_before_anything_is_made(spawning: Spawning, gold: Policy, nowhere: Policy) -> None:
    base: dict[str, Any] = {"template": TEMPLATE, "name": "policy-refused", "folder": "never/made"}
    of_gold = "datastores that the storage policy Gold takes: LocalDS_1"
    cases: list[tuple[dict[str, Any], type[VirtError], str]] = [
        ({"storage_policy": "Golf"}, NotFound, "is it Gold"),
        ({"storage_policy": "00000000-1c88-45da-85d3-3d74b91a5bad"}, NotFound, "vSAN Default Storage Policy"),
        ({"storage_policy": "Gold", "datastore": "LocalDS_0"}, NoDatastore, of_gold),
        ({"storage_policy": "Gold", "clone": "linked"}, NoDatastore, of_gold),
        ({"storage_policy": "Gold", "disks": [{"size_gb": 1}, {"size_gb": 1, "datastore": "LocalDS_0"}]}, NoDatastore, of_gold),
        ({"storage_policy": "Nowhere"}, NoDatastore, "policy Nowhere takes: none"),
    ]
    for change, kind, text in cases:
        with pytest.raises(kind) as refused:
            spawning.run(**{**base, **change})
        assert text in f"{refused.value} {refused.value.hint}", change
        assert spawning.mutations() == {}, change
    assert "policy-refused" not in spawning.listing()


def test_two_policies_of_one_name_are_told_apart_by_id(spawning: Spawning, gold: Policy) -> None:
    for twin in make_policy(spawning.vcenter, "Gold", "LocalDS_0"):
        with pytest.raises(Ambiguous) as refused:
            spawning.run(template=TEMPLATE, name="policy-twin", storage_policy="Gold")
        assert gold.id in str(refused.value) and twin.id in str(refused.value)
        assert spawning.mutations() == {}


@pytest.fixture
def both(spawning: Spawning) -> Iterator[Policy]:
    yield from make_policy(spawning.vcenter, "Both", "LocalDS_0", "LocalDS_1")


@pytest.mark.parametrize("state", ["poweredoff", "poweredon"])
def test_another_policy_is_given_to_a_machine_that_is_there(spawning: Spawning, both: Policy, sent: dict[str, dict[str, Any]], state: str) -> None:
    wish: dict[str, Any] = {"template": TEMPLATE, "name": "policy-changed", "state": state, "disks": [{"size_gb": 1}]}
    spawning.run(**wish)
    assert pbm_calls(spawning) == 0
    for policy, before in ((VSAN, "none"), (both, VSAN.name)):
        sent.clear()
        foretold = spawning.run(check_mode=True, **wish, storage_policy=policy.name)
        assert spawning.mutations() == {} and pbm_calls(spawning) == 4 and foretold["changed"]
        made = spawning.run(**wish, storage_policy=policy.name)
        assert pbm_calls(spawning) == 4
        assert (foretold["actions"], foretold["diff"]) == (made["actions"], made["diff"])
        assert made["actions"] == [{"action": "reconfigure", "reason": f"storage_policy {before} -> {policy.name}"}]
        spec = sent["ReconfigVM_Task"]["spec"]
        assert profiles(spec.vmProfile) == [policy.id]
        assert [(change.operation, profiles(change.profile)) for change in spec.deviceChange] == [("edit", [policy.id])] * 2
        for said in (policy.name, policy.id.upper(), None):
            assert not spawning.run(**wish, storage_policy=said)["changed"]
            assert pbm_calls(spawning) == 0
    spawning.run(name="policy-changed", state="absent")


def test_a_disk_that_grows_or_is_added_has_the_policy_of_the_machine(spawning: Spawning, gold: Policy, both: Policy, sent: dict[str, dict[str, Any]]) -> None:
    wish: dict[str, Any] = {"template": TEMPLATE, "name": "policy-disks", "state": "poweredoff", "storage_policy": "Both", "disks": [{"size_gb": 1}]}
    spawning.run(**wish)
    spawning.run(**{**wish, "disks": [{"size_gb": 1}, {"size_gb": 1}]})
    assert pbm_calls(spawning) == 0
    assert [profiles(change.profile) for change in sent["ReconfigVM_Task"]["spec"].deviceChange] == [[both.id]]
    spawning.run(**{**wish, "storage_policy": VSAN.name, "disks": [{"size_gb": 2}, {"size_gb": 1}]})
    edits = sent["ReconfigVM_Task"]["spec"].deviceChange
    assert [profiles(change.profile) for change in edits] == [[VSAN.id]] * 3 and len({change.device.key for change in edits}) == 3
    spawning.run(name="policy-disks", state="absent")
    wish |= {"storage_policy": "Gold", "disks": []}
    spawning.run(**wish)
    with pytest.raises(NoDatastore, match=r"disks\[0\].datastore") as refused:
        spawning.run(**{**wish, "disks": [{"size_gb": 1, "datastore": "LocalDS_0"}]})
    assert spawning.mutations() == {} and pbm_calls(spawning) == 2 and "takes: LocalDS_1" in refused.value.hint
    spawning.run(name="policy-disks", state="absent")


def test_a_policy_that_does_not_take_the_machines_datastore_needs_a_rebuild(spawning: Spawning, gold: Policy) -> None:
    wish: dict[str, Any] = {"template": TEMPLATE, "name": "policy-moved", "state": "poweredoff", "storage_policy": VSAN.name}
    assert spawning.run(**wish)["datastore_path"].startswith("[LocalDS_0]")
    for check_mode in (True, False):
        with pytest.raises(NeedsRebuild, match=f"storage_policy {VSAN.name} -> Gold"):
            spawning.run(check_mode=check_mode, **{**wish, "storage_policy": "Gold"})
        assert spawning.mutations() == {} and pbm_calls(spawning) == 4
    again = {**wish, "storage_policy": "Gold", "recreate": True}
    foretold = spawning.run(check_mode=True, **again)
    made = spawning.run(**again)
    assert pbm_calls(spawning) == 4 and (foretold["actions"], foretold["diff"]) == (made["actions"], made["diff"])
    assert made["datastore_path"].startswith("[LocalDS_1]")
    assert not spawning.run(**again)["changed"]
    spawning.run(name="policy-moved", state="absent")


def test_a_change_whose_answer_was_lost_is_found_to_be_made(spawning: Spawning, both: Policy) -> None:
    wish: dict[str, Any] = {"template": TEMPLATE, "name": "policy-lost", "state": "poweredoff"}
    spawning.run(**wish)
    spawning.vcenter.chaos("ReconfigVM_Task", "drop-after", times=1)
    assert spawning.run(**wish, storage_policy="Both")["changed"]
    assert spawning.calls["ReconfigVM_Task"] == 1
    assert not spawning.run(**wish, storage_policy="Both")["changed"]
    spawning.run(name="policy-lost", state="absent")


def test_without_a_policy_its_service_is_not_asked(spawning: Spawning) -> None:
    spawning.run(template=TEMPLATE, name="policy-none", state="poweredoff")
    assert pbm_calls(spawning) == 0
    spawning.run(name="policy-none", state="absent")
