# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Every backend keeps a text about a disk where the disk is, and says what room a disk takes."""

from __future__ import annotations

import json

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import MIB, Site
from ansible_collections.poolwright.virt.tests.contract.imagebackend.test_disks_interrupted import through_steps

# Longer than one tag of LVM's takes, and with what none takes as it is.
TEXT = json.dumps({"source": "https://example.org/a b?c", "words": [f"word {number * 7919}" for number in range(200)], "umlaut": "ä"})


def test_a_note_is_there_before_and_after_the_disk(site: Site) -> None:
    note = site.disk.note()
    assert note.read(site.soon) is None
    note.write("{}", site.soon)
    note.write(TEXT, site.soon)
    site.make()
    assert site.lab.disk().note().read(site.soon) == TEXT
    assert site.disk.remove(site.soon)
    assert note.read(site.soon) == TEXT
    note.remove(site.soon)
    assert note.read(site.soon) is None
    note.remove(site.soon)
    site.disk.remove_base(site.image.digest, site.soon)
    assert site.volumes() == []


def test_notes_are_each_disks_own(site: Site) -> None:
    disks = [site.lab.disk(name) for name in ("a", "a.0", "a.0.1", "A")]
    for disk in disks:
        disk.note().write(f"of {disk.name}", site.soon)
    assert [disk.note().read(site.soon) for disk in disks] == [f"of {disk.name}" for disk in disks]
    for disk in disks:
        disk.note().remove(site.soon)
    assert [disk.note().read(site.soon) for disk in disks] == [None] * 4


def test_a_place_that_is_not_there_has_no_notes(site: Site) -> None:
    disk = site.lab.disk(location=site.lab.no_location)
    assert disk.note().read(site.soon) is None


def test_a_note_is_there_as_a_whole_wherever_its_writer_is_killed(site: Site) -> None:
    note = site.disk.note()
    note.write("before", site.soon)

    def repair() -> None:
        assert note.read(site.soon) in ("before", TEXT)
        note.write("before", site.soon)

    through_steps(site, lambda: note.write(TEXT, site.soon), repair)
    note.remove(site.soon)
    assert site.volumes() == []


def test_the_room_that_a_disk_takes(site: Site) -> None:
    with pytest.raises(NotFound):
        site.disk.used_bytes(site.soon)
    site.write(site.disk, site.data)
    assert 5 * MIB <= site.disk.used_bytes(site.soon) <= 10 * MIB
