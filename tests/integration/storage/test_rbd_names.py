# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rename in RBD takes the new name first and lists the image under it afterwards; between the two it can be killed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import makers
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import blank
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.base import for_one_case
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.rbd import RbdLab
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import MIB, Supplies
from ansible_collections.poolwright.virt.tests.integration.storage.conftest import tool

NAME = "web-1_root"


class Place(RbdLab):
    """An empty namespace, with the steps of a rename in it."""

    def begin_rename(self, name: str) -> None:
        """Make an image, and have it take the disk's name."""
        tool("rbd", *self._conf, "create", "--size", "1M", f"{self.location}/{name}")
        tool("rbd", *self._conf, "image-meta", "set", f"{self.location}/{name}", "poolwright", "yes")
        copy = str(self.folder / "id")
        self._rados("get", f"rbd_id.{name}", copy)
        self._rados("put", f"rbd_id.{NAME}", copy)

    def remove_image(self, name: str) -> None:
        tool("rbd", *self._conf, "rm", "--no-progress", f"{self.location}/{name}")

    def _rados(self, *arguments: str) -> None:
        pool, _slash, namespace = self.location.partition("/")
        tool("rados", *self._conf, "--pool", pool, "--namespace", namespace, *arguments)

    @property
    def _conf(self) -> tuple[str, str]:
        return ("--conf", self.options.conf)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with for_one_case(Place(tmp_path)) as found:
        yield found


def dead_makers_name(place: Place) -> str:
    with makers.maker(place.location, Clock()) as maker:
        return maker.new_name()


@pytest.mark.parametrize("image_is_gone", [False, True])
def test_a_rename_that_was_cut_off_is_no_disk_and_in_nobodys_way(place: Place, supplies: Supplies, soon: Deadline, image_is_gone: bool) -> None:
    name = dead_makers_name(place)
    place.begin_rename(name)
    if image_is_gone:
        place.remove_image(name)
    disk = place.disk(NAME)
    assert not disk.exists(soon)
    record = disk.create_from_image(supplies.image, 9 * MIB, soon)
    found = io.BytesIO()
    disk.read_to(record, found, soon)
    assert found.getvalue() == supplies.data.ljust(9 * MIB, b"\0")
    assert [image for image in place.volumes() if "base" not in image] == [NAME]
    assert disk.remove(soon)
    assert disk.remove_base(supplies.image.digest, soon)
    assert place.volumes() == []


def test_what_is_left_of_it_is_removed_with_the_disk(place: Place, soon: Deadline) -> None:
    place.begin_rename(dead_makers_name(place))
    assert place.disk(NAME).remove(soon) is False
    assert place.volumes() == []
    tool("rbd", "--conf", place.options.conf, "create", "--size", "1M", f"{place.location}/{NAME}")


def test_a_rename_that_is_under_way_is_left_alone(place: Place, soon: Deadline) -> None:
    disk = place.disk(NAME)
    with makers.maker(place.location, Clock()) as maker:
        name = maker.new_name("other")
        place.begin_rename(name)
        with pytest.raises(Busy, match="there already"):
            disk.create_from_func(blank, MIB, soon)
        assert disk.remove(soon) is False
        assert place.volumes() == [name]
        tool("rbd", "--conf", place.options.conf, "info", f"{place.location}/{NAME}")
