# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a guest moves is decided before anything is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.capabilities import Versions
from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import Disk, GuestFacts, HostFacts, Kept, Room, SecretCopy, There
from ansible_collections.poolwright.virt.plugins.module_utils.migration.moving import flag_names
from ansible_collections.poolwright.virt.plugins.module_utils.migration.plan import plan
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import Mode, NewPlace, Storage, Tuning, Wish

NOW = Versions(9_000_000, 7_002_022)
ROOT = Disk("vda", "file", "disk", "qcow2", "/d/web_root.qcow2", chain=(("/i/base.qcow2", "qcow2"),), size=3 << 30, file_size=1 << 20, own=True)
DATA = Disk("vdb", "file", "disk", "raw", "/d/web_data.raw", size=1 << 30, file_size=1 << 30)
SEED = Disk("sda", "file", "cdrom", "raw", "/d/seed.iso", readonly=True, size=2048, file_size=2048, own=True)
GUEST = GuestFacts(
    "web", "u-1", "running", arch="x86_64", machine="pc-q35-7.2", memory=1 << 20, disks=(ROOT, DATA, SEED), networks=("default",), bridges=("br0",)
)
SOURCE = HostFacts("kvm1", "h-1", "QEMU", "x86_64", NOW)
TARGET = HostFacts("kvm2", "h-2", "QEMU", "x86_64", NOW, memory=8 << 20, networks={"default": True}, bridges=frozenset({"br0"}), max_cpus=8)
ALL_SHARED = dict.fromkeys(("/d/web_root.qcow2", "/d/web_data.raw", "/d/seed.iso", "/i/base.qcow2"), There.SHARED)
WISH = Wish("web")


def hows(guest: GuestFacts = GUEST, target: HostFacts = TARGET, wish: Wish = WISH) -> dict[str, str]:
    return {move.disk.device: move.how for move in plan(guest, SOURCE, target, wish).moves}


def refused(guest: GuestFacts = GUEST, target: HostFacts = TARGET, wish: Wish = WISH) -> str:
    with pytest.raises(InvalidSpec) as caught:
        plan(guest, SOURCE, target, wish)
    return "; ".join(caught.value.problems)


def shared() -> HostFacts:
    return replace(TARGET, there=ALL_SHARED)


def test_disks_that_are_the_same_on_both_hosts_stay_where_they_are() -> None:
    decided = plan(GUEST, SOURCE, shared(), WISH)
    assert {move.how for move in decided.moves} == {"shared"}
    assert decided.proved


def test_disks_that_are_not_are_copied_and_the_seed_is_sent() -> None:
    assert hows() == {"vda": "copied", "vdb": "copied", "sda": "sent"}
    assert hows(replace(GUEST, state="shutoff")) == {"vda": "sent", "vdb": "sent", "sda": "sent"}


def test_an_overlay_stays_one_where_the_target_has_its_base() -> None:
    for there, flat in ((There.SAME, False), (There.SHARED, False), (There.OTHER, True)):
        decided = plan(GUEST, SOURCE, replace(TARGET, there={"/i/base.qcow2": there}), WISH)
        assert decided.moves[0].flat is flat
        assert decided.whole is flat


def test_one_disk_without_its_base_has_all_copied_as_a_whole() -> None:
    other = replace(DATA, format="qcow2", path="/d/other.qcow2", chain=(("/i/other.qcow2", "qcow2"),))
    decided = plan(replace(GUEST, disks=(ROOT, other)), SOURCE, replace(TARGET, there={"/i/base.qcow2": There.SAME}), WISH)
    assert [move.flat for move in decided.moves] == [True, True]


def test_without_a_disk_to_copy_libvirt_is_not_told_to_copy() -> None:
    """With the flag and an empty list it would copy every disk, over the shared ones too."""
    names = flag_names(plan(GUEST, SOURCE, shared(), WISH), WISH, persistent=True, unsafe=True)
    assert not [name for name in names if name.startswith("NON_SHARED")]
    assert "UNSAFE" in names
    copying = plan(GUEST, SOURCE, TARGET, WISH)
    assert "NON_SHARED_DISK" in flag_names(copying, WISH, persistent=True, unsafe=False)
    assert "UNSAFE" not in flag_names(copying, WISH, persistent=True, unsafe=True)


def test_an_empty_list_of_disks_to_copy_allows_none() -> None:
    said = refused(wish=replace(WISH, copy_disks=()))
    assert "vda" in said and "vdb" in said and "copy_disks does not name it" in said
    assert hows(wish=replace(WISH, copy_disks=("vda", "vdb")))["vda"] == "copied"
    assert "vdb" in refused(wish=replace(WISH, copy_disks=("vda",)))
    assert "no disk vdz" in refused(wish=replace(WISH, copy_disks=("vda", "vdb", "vdz")))


def test_a_shared_disk_is_never_copied_over() -> None:
    assert "would overwrite it" in refused(target=shared(), wish=replace(WISH, copy_disks=("vda",)))
    assert "no disk to copy" in refused(target=shared(), wish=replace(WISH, storage=Storage.COPY))
    assert "storage: shared lets nothing be copied" in refused(wish=replace(WISH, storage=Storage.SHARED))


def test_a_file_of_the_same_name_on_the_target_is_not_touched() -> None:
    assert "another file of this name" in refused(target=replace(TARGET, there={"/d/web_root.qcow2": There.OTHER}))


def test_shared_disks_need_a_cache_that_can_be_given_up() -> None:
    careless = replace(GUEST, disks=(replace(ROOT, cache="unsafe"),))
    assert "cache: unsafe" in refused(careless, shared())
    assert hows(replace(careless, state="shutoff"), shared()) == {"vda": "shared"}
    old = replace(shared(), versions=Versions(4_000_000, 3_001_000))
    assert "cache: none" in refused(GUEST, old)


def test_disks_elsewhere_are_made_there() -> None:
    place = NewPlace("vda", "flat", "/new")
    decided = plan(GUEST, SOURCE, TARGET, replace(WISH, mode=Mode.COLD, disks=(place,)))
    move = decided.moves[0]
    assert (move.how, move.path, move.format, move.flat) == ("converted", "/new/web-vda.raw", "raw", True)
    wish = replace(WISH, mode=Mode.COLD, disks=(place,))
    assert "the target has a file /new/web-vda.raw" in refused(target=replace(TARGET, there={"/new/web-vda.raw": There.OTHER}), wish=wish)
    assert "a machine of a pool" in refused(replace(GUEST, directory="/m/web.1"), wish=wish)


@pytest.mark.parametrize(
    ("guest", "target", "words"),
    [
        (GUEST, replace(TARGET, uuid="h-1"), "is the host it is on"),
        (GUEST, replace(TARGET, memory=1 << 20), "MiB of memory free"),
        (GUEST, replace(TARGET, networks={}), "the network default does not exist"),
        (GUEST, replace(TARGET, networks={"default": False}), "the network default is not active"),
        (GUEST, replace(TARGET, bridges=frozenset({"lan"})), "no bridge br0"),
        (GUEST, replace(TARGET, cpu_fits=False), "the processor of kvm2 lacks"),
        (GUEST, replace(TARGET, max_cpus=0), "machine type pc-q35-7.2"),
        (replace(GUEST, cpus=9), TARGET, "8 processors at most"),
        (GUEST, replace(TARGET, arch="aarch64"), "aarch64 processors"),
        (GUEST, replace(TARGET, name_taken="u-2"), "another guest of this name"),
        (GUEST, replace(TARGET, uuid_taken="other", name_taken="u-1"), "a guest of this UUID already, other"),
        (GUEST, replace(TARGET, driver="LXC"), "runs LXC"),
        (replace(GUEST, bound=("a device of the host (pci)",)), TARGET, "a device of the host"),
        (replace(GUEST, snapshots=2), TARGET, "2 snapshots"),
        (replace(GUEST, state="shutoff", saved=True), TARGET, "its memory is saved"),
        (replace(GUEST, state="shutoff", tpm=True), TARGET, "its TPM"),
        (GUEST, replace(TARGET, secrets=(SecretCopy("s-1", problem="the secret s-1 is not there"),)), "target: the secret s-1"),
        (replace(GUEST, disks=(replace(DATA, kind="block", path="/dev/vg/web"),)), TARGET, "cannot be seen"),
        (replace(GUEST, disks=(replace(DATA, format="vmdk"),)), TARGET, "vmdk"),
    ],
)
def test_what_does_not_fit_is_told(guest: GuestFacts, target: HostFacts, words: str) -> None:
    assert words in refused(guest, target)


def test_all_faults_are_told_at_once() -> None:
    said = refused(replace(GUEST, snapshots=1), replace(TARGET, memory=0, networks={}))
    assert "snapshots" in said and "memory free" in said and "network default" in said


def test_the_mode_follows_the_guest() -> None:
    off = replace(GUEST, state="shutoff")
    assert plan(GUEST, SOURCE, TARGET, WISH).live
    assert not plan(off, SOURCE, TARGET, WISH).live
    assert not plan(GUEST, SOURCE, TARGET, replace(WISH, mode=Mode.COLD)).live
    assert "switched off" in refused(off, wish=replace(WISH, mode=Mode.LIVE))


def test_disks_cannot_be_copied_through_libvirts_own_connection() -> None:
    assert "transport" in refused(wish=replace(WISH, tuning=Tuning(transport="ssh")))
    assert hows(target=shared(), wish=replace(WISH, tuning=Tuning(transport="ssh")))["vda"] == "shared"


def test_there_is_room_for_what_is_made_on_the_target() -> None:
    kept = replace(DATA, allocated=600, kept=(Kept("/d/web_data.raw@clean", 1 << 30, 300),))
    guest = replace(GUEST, disks=(replace(ROOT, path="/e/web_root.qcow2", allocated=100, below=1 << 20), kept), nvram="/n/web_VARS.fd", nvram_size=50)
    one, based = Room(1 << 40, 999), {"/i/base.qcow2": There.SAME}
    target = replace(TARGET, there=based)
    # Two directories of one file system: 100 and 600 and 300.
    assert "0 MiB left in /d, /e, and 1 are to be copied there" in refused(guest, replace(target, room={"/d": one, "/e": one, "/n": Room(1 << 30, 50)}))
    for room in ({"/d": replace(one, left=900), "/e": replace(one, left=100)}, {"/d": replace(one, left=1000), "/e": replace(one, left=1000)}, {}):
        assert hows(guest, replace(target, room=room)) == {"vda": "copied", "vdb": "copied"}
    assert "left in /n" in refused(guest, replace(target, room={"/n": Room(1 << 30, 49)}))
    # With what it stands on, but never more than the guest sees.
    flat = replace(guest, disks=(replace(ROOT, size=800_000, allocated=100, below=1 << 20),), nvram="")
    assert "left in /d" in refused(flat, replace(TARGET, room={"/d": Room(1 << 40, 799_999)}))
    assert hows(flat, replace(TARGET, room={"/d": Room(1 << 40, 800_000)})) == {"vda": "copied"}
    # What is shared takes none.
    assert hows(target=replace(shared(), room={"/d": Room(1, 0)})) == {"vda": "shared", "vdb": "shared", "sda": "shared"}


def test_snapshots_go_with_the_disk_or_it_does_not_go() -> None:
    kept = (Kept("/d/web_root.qcow2@clean", 10, 10),)
    guest = replace(GUEST, disks=(replace(ROOT, kept=kept),))
    based = replace(TARGET, there={"/i/base.qcow2": There.SAME})
    assert plan(guest, SOURCE, based, WISH).kept == kept
    assert plan(guest, SOURCE, shared(), WISH).kept == ()
    assert "snapshots clean, which stand on /i/base.qcow2, which the target has not got" in refused(guest)
    assert "another file /d/web_root.qcow2@clean" in refused(guest, replace(based, there={**based.there, kept[0].path: There.OTHER}))
    # QEMU copies this one's base too, since that of the other is wanting.
    both = replace(guest, disks=(*guest.disks, replace(ROOT, device="vdb", path="/d/2.qcow2", chain=(("/i/other.qcow2", "qcow2"),))))
    assert "use mode: cold" in refused(both, based)
    inside = replace(GUEST, disks=(replace(ROOT, inside=2),))
    assert "2 snapshots inside its file" in refused(inside, based)
    assert hows(replace(inside, state="shutoff"), based) == {"vda": "sent"}
    assert hows(inside, shared()) == {"vda": "shared"}
