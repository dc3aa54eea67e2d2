# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A base in a Ceph pool that is cloned, or made anew, at the very moment at which it is removed."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.base import for_one_case
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.rbd import RbdLab
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import Supplies
from ansible_collections.poolwright.virt.tests.integration.storage.conftest import tool

# Opens an image as whoever writes to it does, until its input ends.
OPENED = """
import rados, rbd, sys
with rados.Rados(conffile=sys.argv[1]) as cluster, cluster.open_ioctx(sys.argv[2]) as pool:
    pool.set_namespace(sys.argv[3])
    with rbd.Image(pool, sys.argv[4]) as image:
        image.write(image.read(0, 512), 0)
        print("open", flush=True)
        sys.stdin.read()
"""


class Place(RbdLab):
    """An empty namespace, and Ceph's own tool in it."""

    @contextlib.contextmanager
    def opened(self, image: str) -> Iterator[None]:
        command = ["/usr/bin/python3", "-c", OPENED, self.options.conf, *image.split("/")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            yield
            process.communicate()

    def rbd(self, *arguments: str) -> None:
        tool("rbd", "--conf", self.options.conf, *arguments)

    def base(self) -> str:
        """The name that the base has now."""
        (name,) = [name for name in self.volumes() if "base" in name or "del" in name]
        return f"{self.location}/{name}"

    def clone(self, name: str) -> None:
        """By somebody who found the base before it lost its name."""
        self.rbd("clone", "--rbd-default-clone-format", "2", f"{self.base()}@base", f"{self.location}/{name}")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with for_one_case(Place(tmp_path)) as found:
        yield found


class _Moment:
    """Does something once, before Ceph is asked a question for the n-th time."""

    def __init__(self) -> None:
        self._question, self._times = "", 0
        self._act: Callable[[], None] | None = None
        sys.addaudithook(self._heard)

    def at(self, question: str, times: int, act: Callable[[], None]) -> None:
        self._question, self._times, self._act = question, times, act

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._act is None or event != "poolwright.rados" or arguments[0] != self._question:
            return
        self._times -= 1
        if self._times == 0:
            act, self._act = self._act, None
            act()


@pytest.fixture(scope="module")
def moment() -> _Moment:
    # A hook stays for as long as the process lives.
    return _Moment()


def is_whole(disk: Image, supplies: Supplies, soon: Deadline) -> bool:
    found = io.BytesIO()
    disk.read_to(disk.plan_from_image(supplies.image, None), found, soon)
    return found.getvalue() == supplies.data


def unused_base(place: Place, supplies: Supplies, soon: Deadline) -> Image:
    disk = place.disk("web-1_root")
    disk.create_from_image(supplies.image, None, soon)
    assert disk.remove(soon)
    assert [base.users for base in disk.bases(soon)] == [()]
    return disk


@pytest.mark.parametrize(("question", "times"), [("rename", 1), ("standing", 2), ("remove", 1)])
def test_a_base_that_is_cloned_meanwhile_stays_whole(place: Place, supplies: Supplies, soon: Deadline, moment: _Moment, question: str, times: int) -> None:
    """Before it loses its name, before it is looked at again, and after that."""
    disk = unused_base(place, supplies, soon)
    moment.at(question, times, lambda: place.clone("late"))
    with pytest.raises(Busy):
        disk.remove_base(supplies.image.digest, soon)
    assert [(base.digest, base.users) for base in disk.bases(soon)] == [(supplies.image.digest, ("late",))]
    assert is_whole(place.disk("late"), supplies, soon)
    # It is cloned as before.
    disk.create_from_image(supplies.image, None, soon)
    assert is_whole(disk, supplies, soon)
    assert disk.bases(soon)[0].users == ("late", "web-1_root")
    assert len(place.volumes()) == 3
    place.rbd("rm", "--no-progress", f"{place.location}/late")
    assert disk.remove(soon)
    assert disk.remove_base(supplies.image.digest, soon)
    assert place.volumes() == []


def test_a_base_that_was_made_anew_meanwhile_does_not_come_back(place: Place, supplies: Supplies, soon: Deadline, moment: _Moment) -> None:
    disk, other = unused_base(place, supplies, soon), place.disk("web-2_root")

    def somebody_is_late_and_somebody_else_quick() -> None:
        place.clone("late")
        other.create_from_image(supplies.image, None, soon)

    moment.at("remove", 1, somebody_is_late_and_somebody_else_quick)
    with pytest.raises(Busy):
        disk.remove_base(supplies.image.digest, soon)
    assert disk.bases(soon)[0].users == ("web-2_root",)
    assert is_whole(other, supplies, soon)
    assert is_whole(place.disk("late"), supplies, soon)
    place.rbd("rm", "--no-progress", f"{place.location}/late")
    assert other.remove(soon)
    assert disk.remove_base(supplies.image.digest, soon)
    assert place.volumes() == []


def test_a_disk_is_made_though_its_base_is_pruned_right_before(place: Place, supplies: Supplies, soon: Deadline, moment: _Moment) -> None:
    """Twice: the run makes it again."""
    disk, other = place.disk("web-1_root"), place.disk("web-2_root")

    def prune() -> None:
        assert other.remove_base(supplies.image.digest, soon)

    def prune_and_again() -> None:
        prune()
        moment.at("clone", 1, prune)

    moment.at("clone", 2, prune_and_again)
    disk.create_from_image(supplies.image, None, soon)
    assert is_whole(disk, supplies, soon)
    assert disk.bases(soon)[0].users == ("web-1_root",)


def test_clones_elsewhere_and_in_the_trash_keep_a_base(place: Place, supplies: Supplies, soon: Deadline) -> None:
    disk = unused_base(place, supplies, soon)
    with place.elsewhere() as other:
        place.rbd("clone", "--rbd-default-clone-format", "2", f"{place.base()}@base", f"{other}/far")
        assert disk.bases(soon)[0].users == (f"{other}/far",)
    place.clone("thrown-away")
    place.rbd("trash", "mv", f"{place.location}/thrown-away")
    assert disk.bases(soon)[0].users == ("thrown-away (in the trash)",)
    with pytest.raises(Busy, match="in the trash"):
        disk.remove_base(supplies.image.digest, soon)
    place.rbd("trash", "purge", "--no-progress", place.location)
    assert disk.remove_base(supplies.image.digest, soon)


def test_a_base_that_somebody_has_open_is_kept(place: Place, supplies: Supplies, soon: Deadline) -> None:
    disk = unused_base(place, supplies, soon)
    with place.opened(place.base()):
        (users,) = [base.users for base in disk.bases(soon)]
        assert len(users) == 1 and users[0].startswith("client ")
        with pytest.raises(Busy, match="client"):
            disk.remove_base(supplies.image.digest, soon)
    assert disk.remove_base(supplies.image.digest, soon)
