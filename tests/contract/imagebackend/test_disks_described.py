# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Described disks are kept as they are described, on every backend: what ``disk_backend`` does."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    ChecksumMismatch,
    InsufficientResources,
    InvalidSpec,
    NotFound,
    NotOurs,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.storage import digests, ledger
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk
from ansible_collections.poolwright.virt.tests.contract.imagebackend.described import GB, Described
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import MIB, Site
from ansible_collections.poolwright.virt.tests.contract.imagebackend.test_disks_interrupted import through_steps


@pytest.fixture
def described(site: Site) -> Described:
    return Described(site)


def image_digest(site: Site) -> str:
    stream = digests.DigestStream()
    stream.write(site.data)
    return stream.digest


def test_a_described_disk_is_made_once_and_grows(site: Site, described: Described) -> None:
    made = described.predicted(image=described.image)
    assert (made["virtual_size"], described.digest()) == (8 * MIB, image_digest(site))
    grown = described.predicted(image=described.image, size_gb=10 * GB)
    assert (grown["actions"][0][:4], grown["virtual_size"]) == ("grow", 10 * MIB)
    # What is not said stays as it is.
    assert described.predicted(size_gb=10 * GB)["recorded"] == grown["recorded"] == described.predicted()["recorded"]
    assert described.digest() == image_digest(site)
    gone = described.predicted(state="absent")
    assert (gone["changed"], gone["state"]) == (True, "absent")
    assert described.nothing_is_left()


@pytest.mark.parametrize("kind", ["ephemeral", "swap", "directory", "blank"])
def test_described_contents_are_on_the_disk(site: Site, described: Described, kind: str) -> None:
    contents: dict[str, dict[str, Any]] = {
        "ephemeral": {"content": {"ephemeral": "ext2", "label": "data"}, "size_gb": 4 * GB},
        "swap": {"content": {"swap": True}, "size_gb": 2 * GB},
        "directory": {"content": {"directory": str(described.tree), "as": "iso9660", "label": "cidata"}},
        "blank": {"content": "blank", "size_gb": 2 * GB},
    }
    made = described.predicted(**contents[kind])
    assert described.digest() == made["recorded"]["origin"]["digest"]
    described.run(state="absent")
    assert described.nothing_is_left()


def test_what_would_change_a_described_disk_is_refused(site: Site, described: Described) -> None:
    described.run(image=described.image, size_gb=9 * GB)
    wanted: list[dict[str, Any]] = [
        {"image": described.other},
        {"content": {"swap": True}, "size_gb": 9 * GB},
        {"content": "blank", "size_gb": 9 * GB},
        {"image": described.image, "size_gb": 8 * GB},
        {"size_gb": 8 * GB},
    ]
    for options in wanted:
        for check in (True, False):
            with pytest.raises(InvalidSpec, match="recreate: true"):
                described.run(check=check, **options)
    assert described.digest() == image_digest(site)
    made = described.predicted(content={"swap": True}, size_gb=2 * GB, recreate=True)
    assert [action.partition(" ")[0] for action in made["actions"]] == ["remove", "make"]
    assert described.digest() == made["recorded"]["origin"]["digest"]
    described.run(state="absent")
    assert described.nothing_is_left()


def test_a_disk_that_nobody_recorded_is_not_touched(site: Site, described: Described) -> None:
    record = site.make()
    wanted: list[dict[str, Any]] = [
        {"image": described.image}, {"size_gb": 9 * GB}, {}, {"state": "absent"}, {"content": "blank", "size_gb": 1, "recreate": True}
    ]  # fmt: skip
    for options in wanted:
        with pytest.raises(NotOurs, match="nothing is recorded of it"):
            described.run(**options)
    assert site.holds(record, site.data)
    assert described.predicted(image=described.other, recreate=True, force=True)["virtual_size"] == 2 * MIB
    assert described.predicted(state="absent")["changed"]
    site.make()
    assert described.predicted(state="absent", force=True)["changed"]
    site.disk.remove_base(site.image.digest, site.soon)
    assert described.nothing_is_left()


def test_a_described_disk_that_was_lost_is_told(site: Site, described: Described) -> None:
    described.run(image=described.image)
    assert site.disk.remove(site.soon)
    with pytest.raises(NotFound, match="is gone"):
        described.run(image=described.image)
    assert described.predicted(image=described.image, recreate=True)["changed"]
    assert site.disk.remove(site.soon)
    assert described.predicted(state="absent")["actions"] == ["forget what is recorded of it"]
    assert described.nothing_is_left()


def test_the_same_disk_is_made_here_as_elsewhere_and_elsewhere_as_here(site: Site, described: Described) -> None:
    for options in (
        {"image": described.image, "size_gb": 9 * GB},
        {"content": {"ephemeral": "ext2"}, "size_gb": 3 * GB},
        {"content": {"directory": str(described.tree)}},
    ):
        there = described.run(disks=[{**described.flat("first"), **options}])["disks"][0]
        here = described.predicted(state="identical_to", like=described.flat("first"))
        assert here["virtual_size"] == there["virtual_size"]
        assert here["digest"] == described.digest() == described.digest(OwnDisk.from_dict(there["recorded"]))
        # From the record alone, as another host has it.
        back = described.run(disks=[{**described.flat("second"), "state": "identical_to", "like": {"recorded": here["recorded"]}}])["disks"][0]
        assert back["digest"] == here["digest"]
        with pytest.raises(InvalidSpec, match="leave it out"):
            described.run(state="identical_to", like=described.flat("first"), size_gb=20 * GB)
        described.run(disks=[{**described.flat(name), "state": "absent"} for name in ("first", "second")])
        described.run(state="absent")
    assert described.nothing_is_left()


def test_a_copy_with_another_digest_leaves_nothing(site: Site, described: Described) -> None:
    there = described.run(disks=[{**described.flat("first"), "content": {"ephemeral": "ext2"}, "size_gb": 3 * GB}])["disks"][0]
    wrong = {**there["recorded"], "origin": {**there["recorded"]["origin"], "digest": f"blocks-sha256:{64 * '0'}"}}
    with pytest.raises(ChecksumMismatch, match="should have the digest"):
        described.run(state="identical_to", like={"recorded": wrong})
    assert described.nothing_is_left()
    (described.tree / "new").write_text("new")
    described.run(disks=[{**described.flat("tree"), "content": {"directory": str(described.tree)}}])
    (described.tree / "new").unlink()
    with pytest.raises(VirtError, match="is not as it was"):
        described.run(state="identical_to", like=described.flat("tree"))
    assert described.nothing_is_left()


def test_all_described_disks_are_looked_at_before_the_first_is_made(site: Site, described: Described) -> None:
    good = {**described.place, "name": "good", "image": described.image}
    disks = [good, {**described.place, "name": "bad", "image": {"source": "/nowhere/at/all"}}]
    with pytest.raises(VirtError, match=r"disks\[1\]: image: "):
        described.run(disks=disks)
    assert site.volumes() == []
    made = described.run(disks=[good, {**described.place, "name": "data", "size_gb": 2 * GB}])
    assert [(one["changed"], one["virtual_size"]) for one in made["disks"]] == [(True, 8 * MIB), (True, 2 * MIB)]
    assert described.run(disks=[good, {**described.place, "name": "data", "size_gb": 2 * GB}])["diff"] == []
    assert described.run(disks=[{**described.place, "name": name, "state": "absent"} for name in ("good", "data")])["changed"]
    assert described.nothing_is_left()


def test_a_full_storage_leaves_nothing_of_a_described_disk(site: Site, described: Described) -> None:
    place: dict[str, Any] = {"location": site.lab.tiny_location}
    wanted: list[dict[str, Any]] = [{"image": described.image, "full": True}, {"content": {"directory": str(_large(described))}}]
    for options in wanted:
        with pytest.raises(InsufficientResources):
            described.run(**place, **options)
        tiny = site.lab.disk(location=site.lab.tiny_location)
        assert (ledger.read(tiny, site.soon), site.volumes(site.lab.tiny_location)) == (None, [])
    # With room it works.
    made = described.run(**place, content={"ephemeral": "vfat"}, size_gb=MIB / 1024**3)
    assert made["changed"]
    described.run(**place, state="absent")


def _large(described: Described) -> Any:
    tree = described.folder / "large"
    tree.mkdir(exist_ok=True)
    (tree / "file").write_bytes(b"x" * 9 * MIB)
    return tree


@pytest.mark.parametrize("what", ["image", "contents", "growth", "another", "absence", "likeness"])
def test_a_run_that_was_killed_anywhere_is_mended_by_the_next(site: Site, described: Described, what: str) -> None:
    image: dict[str, Any] = {"image": described.image}
    contents: dict[str, Any] = {"content": {"ephemeral": "ext2"}, "size_gb": 3 * GB}
    cases: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "image": ({}, image),
        "contents": ({}, contents),
        "growth": (image, {**image, "size_gb": 9 * GB}),
        "another": (image, {**contents, "recreate": True}),
        "absence": (image, {"state": "absent"}),
        "likeness": ({}, {"state": "identical_to", "like": described.flat("first")}),
    }
    before, wanted = cases[what]
    described.run(disks=[{**described.flat("first"), **image}])
    # To make a disk anew takes long in the guest: there one grows again and again.
    grows = what == "growth" and site.lab.in_guest
    times = itertools.count()

    def prepare() -> None:
        if grows:
            wanted["size_gb"] += GB
        elif before:
            described.run(**before)

    def repair() -> None:
        described.run(**wanted)
        time = next(times)
        if time == 0 or (time % 4 == 0 and not site.lab.in_guest):
            assert described.run(**wanted)["changed"] is False
        if what == "absence":
            assert not site.disk.exists(site.soon)
        else:
            own = described.recorded()
            assert own is not None and own.made
            assert described.digest(own) == (own.origin.digest or image_digest(site))
            if not (grows or site.lab.clear()):
                described.run(state="absent")
        prepare()

    if before:
        described.run(**before)
    assert through_steps(site, lambda: described.run(**wanted), repair) > 1
    described.run(state="absent")
    assert described.nothing_is_left()


def test_two_runs_at_once_make_one_disk(site: Site, described: Described) -> None:
    described.run(disks=[{**described.flat("first"), "image": described.image}])
    runs = [site.begin(lambda: described.run(image=described.image)) for _number in range(3)]
    assert [run.end() for run in runs] == [""] * 3
    assert described.run(image=described.image)["changed"] is False
    assert described.digest() == image_digest(site)
    runs = [site.begin(lambda: described.run(state="absent")) for _number in range(2)]
    assert [run.end() for run in runs] == [""] * 2
    others = [site.begin(lambda: described.run(image=described.image)), site.begin(lambda: described.run(content={"swap": True}, size_gb=2 * GB))]
    assert sorted(run.end() for run in others) == ["", "InvalidSpec"]
    assert described.run()["changed"] is False
    described.run(state="absent")
    assert described.nothing_is_left()
