# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which datastore takes what is about to be placed, and why none of the others."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastores import (
    Datastore,
    NoDatastore,
    Reservations,
    Wanted,
    allowed_datastore_types,
    choose,
)
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry

GIB = 1024**3


@dataclass(frozen=True)
class Reference:
    """An object of a vCenter, as far as its id."""

    moid: str

    def _GetMoId(self) -> str:
        return self.moid


def datastore(name: str, free: int = 100, **known: Any) -> Datastore:
    """:param free: in GiB, of 1000."""
    folder = f"{known['cluster']}/" if known.get("cluster") else ""
    entry = Entry(Reference(f"datastore-{name}"), "Datastore", name, f"DC0/datastore/{folder}{name}", {})
    return Datastore(entry, name, **{"type": "VMFS", "capacity": 1000 * GIB, "free": free * GIB, **known})


def test_the_one_with_most_free_space_is_chosen_and_of_equal_ones_the_first_by_name() -> None:
    listed = [datastore("c", 70), datastore("b", 80), datastore("a", 80)]
    choice = choose(listed, Wanted(), 10 * GIB)
    assert (choice.datastore.name, choice.free_after) == ("a", 70 * GIB)
    assert [name for name, _reason in choice.rejected] == ["b", "c"]


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"accessible": False}, "it is not accessible"),
        ({"maintenance": "inMaintenance"}, "it is in maintenance (inMaintenance)"),
        ({"maintenance": "enteringMaintenance"}, "it is in maintenance (enteringMaintenance)"),
        ({"type": "vsan"}, "its type vsan cannot take this"),
        ({"hosts": frozenset()}, "no usable host of the cluster mounts it for writing"),
        ({"free": 9}, "9,216 MiB free; 10,240 MiB needed"),
    ],
)
def test_each_that_is_rejected_is_told_with_its_reason(known: dict[str, Any], reason: str) -> None:
    bad = datastore("bad", **known)
    allowed = allowed_datastore_types("preallocated")
    choice = choose([bad, datastore("good", 20)], Wanted(), 10 * GIB, allowed=allowed)
    assert (choice.datastore.name, choice.rejected) == ("good", (("bad", reason),))
    with pytest.raises(NoDatastore) as caught:
        choose([bad, datastore("full", 1)], Wanted(), 10 * GIB, allowed=allowed)
    assert f"bad: {reason}" in str(caught.value)
    assert "full: 1,024 MiB free; 10,240 MiB needed" in str(caught.value)


def test_what_is_reserved_is_as_good_as_taken() -> None:
    listed = [datastore("a", 80), datastore("b", 70)]
    assert choose(listed, Wanted(), GIB, reserved={"datastore-a": 20 * GIB}).datastore.name == "b"
    with pytest.raises(NoDatastore, match="61,440 MiB of it reserved by this run"):
        choose(listed[:1], Wanted(), 30 * GIB, reserved={"datastore-a": 60 * GIB})


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Wanted(), ["hdd-1", "ssd-1", "ssd-2"]),
        (Wanted("ssd-1"), ["ssd-1"]),
        (Wanted("DC0/datastore/fast/ssd-2"), ["ssd-2"]),
        (Wanted(pattern="ssd"), ["ssd-1", "ssd-2"]),
        (Wanted(pattern="sd"), []),
        (Wanted(pattern=".*-1$"), ["hdd-1", "ssd-1"]),
        (Wanted(cluster="fast"), ["ssd-2"]),
        (Wanted("ssd"), []),
    ],
)
def test_which_are_meant(wanted: Wanted, names: list[str]) -> None:
    listed = [datastore("ssd-2", cluster="fast"), datastore("ssd-1"), datastore("hdd-1")]
    if names:
        choice = choose(listed, wanted, 0)
        assert sorted([choice.datastore.name, *(name for name, _reason in choice.rejected)]) == names
    else:
        with pytest.raises(NotFound, match="hdd-1, ssd-1, ssd-2"):
            choose(listed, wanted, 0)


def test_a_choice_by_several_ways_or_by_no_expression_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="not several"):
        Wanted("a", pattern="b")
    with pytest.raises(InvalidSpec, match="no regular expression"):
        Wanted(pattern="(")


@pytest.mark.parametrize(("free", "capacity", "uncommitted"), [(2, 1, 0), (-1, 1, 0), (0, -1, 0), (0, 0, -1)])
def test_sizes_that_cannot_be_are_refused(free: int, capacity: int, uncommitted: int) -> None:
    entry = datastore("x").entry
    with pytest.raises(ValueError, match="datastore x"):
        Datastore(entry, "x", "VMFS", capacity, free, uncommitted)


def test_what_is_not_accessible_may_have_no_sizes() -> None:
    known = Datastore.of(Entry(Reference("datastore-1"), "Datastore", "x", "DC0/datastore/x", {"summary.accessible": False, "summary.freeSpace": 7}))
    assert (known.accessible, known.capacity, known.free, known.maintenance) == (False, 0, 0, "normal")


def test_flat_extents_go_where_extents_are_files_and_imports_everywhere() -> None:
    for flat in ("preallocated", "sparse", "thin", "iso"):
        assert allowed_datastore_types(flat) == {"VMFS", "NFS", "NFS41", "OTHER"}
    for whole in ("", "streamOptimized"):
        assert allowed_datastore_types(whole) == {"VMFS", "NFS", "NFS41", "OTHER", "VSAN", "VVOL"}
    assert choose([datastore("v", type="vsan")], Wanted(), 0).datastore.name == "v"


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.lists(st.integers(0, 200), min_size=1, max_size=4))
def test_reservations_never_take_more_than_there_is(sizes: list[int], free: list[int]) -> None:
    listed = [datastore(f"ds-{number}", gib) for number, gib in enumerate(free)]
    reservations = Reservations()
    placed = 0
    for size in sizes:
        try:
            choice = reservations.choose(listed, Wanted(), size * GIB)
        except NoDatastore:
            assert all(one.free - reservations.as_mapping().get(one.moid, 0) < size * GIB for one in listed)
            continue
        placed += size
        assert choice.free_after >= 0
    taken = reservations.as_mapping()
    assert sum(taken.values()) == placed * GIB
    assert all(taken.get(one.moid, 0) <= one.free for one in listed)


def test_reservations_made_at_the_same_time_are_all_counted() -> None:
    listed = [datastore("a", 40), datastore("b", 40)]
    reservations = Reservations()
    barrier = threading.Barrier(8)
    chosen: list[Datastore] = []

    def place() -> None:
        barrier.wait()
        chosen.append(reservations.choose(listed, Wanted(), 10 * GIB).datastore)

    threads = [threading.Thread(target=place) for _number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.name for one in chosen) == ["a"] * 4 + ["b"] * 4
    with pytest.raises(NoDatastore):
        reservations.choose(listed, Wanted(), GIB)
    reservations.release(chosen[0], 10 * GIB)
    assert reservations.choose(listed, Wanted(), 10 * GIB).datastore == chosen[0]
    reservations.forget()
    assert reservations.as_mapping() == {}
