# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Guests that really boot, and what is seen of them when somebody interferes."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import MarkChanged, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import MarkState
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Power
from ansible_collections.poolwright.virt.tests.integration.libvirt.conftest import Bench, banner


def test_a_guest_boots_with_its_name_and_answers(bench: Bench) -> None:
    bench.with_an_image_that_boots()
    with bench.daemon.without_leases():
        made = bench.make()
        first = bench.provider.readiness("it", ["it-1"])["it-1"]
    assert (first.ready, first.reason) == (False, "no DHCP lease yet")
    address = bench.until_ready()
    assert banner(address) == "SSH-2.0-tiny_it-1"
    (seen,) = bench.provider.vms_in_pool("it")
    assert (seen.power, seen.ip, seen.mark, seen.broken) == (Power.RUNNING, address, made.mark, "")


def test_a_rebuilt_machine_keeps_its_address_and_is_not_taken_for_its_predecessor(bench: Bench) -> None:
    bench.with_an_image_that_boots()
    first = bench.make()
    address = bench.until_ready()
    assert first.mark is not None
    bench.provider.destroy_vm("it", "it-1", first.mark)
    with bench.daemon.without_leases():
        bench.make()
        answer = bench.provider.readiness("it", ["it-1"])["it-1"]
    assert (answer.ready, answer.ip) == (False, "")
    assert bench.until_ready() == address


def test_a_machine_that_was_destroyed_is_off_and_starts_again(bench: Bench) -> None:
    bench.make()
    bench.daemon.virsh("destroy", "it-1")
    assert bench.get().power is Power.OFF
    assert bench.provider.readiness("it", ["it-1"])["it-1"].reason == "it is off"
    bench.start()
    assert bench.get().power is Power.RUNNING


def test_what_undefined_machines_left_is_tidied_up_and_nothing_else(bench: Bench) -> None:
    bench.make(1)
    bench.make(2)
    bench.daemon.virsh("destroy", "it-1")
    bench.daemon.virsh("undefine", "it-1")
    assert [machine.name for machine in bench.provider.vms_in_pool("it")] == ["it-2"]
    foreign = bench.location / "machines" / "it" / "mine"
    foreign.mkdir()
    (foreign / "root.qcow2").write_bytes(b"")
    bench.provider.tidy("it")
    assert [name.partition(".")[0] for name in bench.directories()] == ["it-2", "mine"]
    assert (foreign / "root.qcow2").exists()
    assert bench.provider.warnings == []


def test_files_that_another_domain_took_over_stay(bench: Bench) -> None:
    bench.make()
    xml = bench.daemon.virsh("dumpxml", "--inactive", "it-1")
    mark = bench.get().mark
    assert mark is not None
    bench.daemon.virsh("destroy", "it-1")
    bench.daemon.virsh("undefine", "it-1")
    adopted = xml.replace("<name>it-1</name>", "<name>adopted</name>").replace(f"<uuid>{mark.id}</uuid>", "")
    bench.daemon.virsh("define", "/dev/stdin", stdin=adopted)
    bench.provider.tidy("it")
    assert "the domain adopted uses it" in bench.provider.warnings[0]
    bench.daemon.virsh("start", "adopted")


def test_a_machine_that_was_undefined_while_it_runs_is_broken_and_goes_without_a_trace(bench: Bench) -> None:
    made = bench.make()
    bench.daemon.virsh("undefine", "it-1")
    (seen,) = bench.provider.vms_in_pool("it")
    assert seen.broken == "its definition was removed while it runs"
    assert seen == bench.get()
    assert made.mark is not None
    bench.provider.set_mark("it", "it-1", made.mark.as_state(MarkState.READY), made.mark)
    assert bench.provider.destroy_vm("it", "it-1", made.mark)
    assert bench.daemon.virsh("list", "--all", "--name") == ""
    assert bench.directories() == []


@pytest.mark.parametrize(("lost", "words"), [("root.qcow2", "its disk"), ("seed.iso", "its seed")])
def test_a_lost_file_is_seen(bench: Bench, lost: str, words: str) -> None:
    bench.make()
    (path,) = bench.location.glob(f"machines/it/*/{lost}")
    path.unlink()
    assert bench.get().broken == f"{words} {path} is gone"


def test_a_lost_image_is_seen_on_all_that_stand_on_it(bench: Bench) -> None:
    bench.make()
    bench.make(2)
    shutil.rmtree(bench.location / "images")
    assert ["its disk stands on" in machine.broken for machine in bench.provider.vms_in_pool("it")] == [True, True]


def test_a_renamed_machine_keeps_its_disk_when_its_slot_is_filled_again(bench: Bench) -> None:
    bench.make()
    bench.daemon.virsh("destroy", "it-1")
    bench.daemon.virsh("domrename", "it-1", "kept")
    bench.make()
    bench.provider.tidy("it")
    assert len(bench.directories()) == 2
    bench.daemon.virsh("start", "kept")
    assert [machine.name for machine in bench.provider.vms_in_pool("it")] == ["it-1", "kept"]


def test_a_copy_of_a_machine_is_foreign(bench: Bench) -> None:
    bench.make()
    xml = bench.daemon.virsh("dumpxml", "--inactive", "it-1")
    mark = bench.get().mark
    assert mark is not None
    copy = replace(mark, id=bench.mark(2).id)
    xml = xml.replace("<name>it-1</name>", "<name>it-2</name>").replace(f"<uuid>{mark.id}</uuid>", f"<uuid>{copy.id}</uuid>")
    bench.daemon.virsh("define", "/dev/stdin", stdin=xml)
    assert [(machine.name, machine.mark is None) for machine in bench.provider.vms_in_pool("it")] == [("it-1", False), ("it-2", True)]
    with pytest.raises(MarkChanged):
        bench.provider.set_mark("it", "it-2", copy, copy)


def test_a_foreign_file_stays_and_is_reported(bench: Bench) -> None:
    made = bench.make()
    assert made.mark is not None
    (directory,) = bench.location.glob("machines/it/*")
    (directory / "notes.txt").write_text("mine")
    bench.provider.destroy_vm("it", "it-1", made.mark)
    assert [path.name for path in directory.iterdir()] == ["notes.txt"]
    assert "notes.txt" in bench.provider.warnings[0]


def test_a_network_that_was_removed_does_not_hide_its_machines(bench: Bench) -> None:
    bench.make()
    xml = bench.daemon.virsh("net-dumpxml", "--inactive", "default")
    try:
        bench.daemon.virsh("net-destroy", "default")
        bench.daemon.virsh("net-undefine", "default")
        assert [machine.name for machine in bench.provider.vms_in_pool("it")] == ["it-1"]
        with pytest.raises(NotFound):
            bench.provider.check("it", 1, bench.deadline())
    finally:
        bench.daemon.virsh("net-define", "/dev/stdin", stdin=xml, check=False)
        bench.daemon.virsh("net-start", "default", check=False)
