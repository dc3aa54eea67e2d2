# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the names in a datastore's cache mean, which images are aged, and which makers are known to be dead."""

from __future__ import annotations

import os
import subprocess

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import FileInfo
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import ageing, layout
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.facts import Facts
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.layout import Entry

ROOT = DatastorePath.of("ds", "poolwright-cache")
NOW = 1_800_000_000.0
KEY = "sha256-0123456789abcdef-vmdk"


def entry(*folders: str, key: str = KEY) -> Entry:
    return Entry(key, ROOT.join("images", key), frozenset({"0123456789ab.vmdk", "facts.json"}), frozenset(folders))


def ago(prefix: str, seconds: float) -> str:
    return f"{prefix}-{layout.stamp(NOW - seconds)}"


@given(st.integers(0, 4_000_000_000))
def test_stamps_are_read_back(seconds: int) -> None:
    assert layout.seconds_of(layout.stamp(seconds)) == seconds


def test_a_listing_as_a_snapshot() -> None:
    maker = layout.new_maker(NOW)
    folders = [f"images/{KEY}/ts-2026-01-01-00-00-00", f"images/{KEY}/pinned", f"claims/{KEY}/{maker}/3", f"claims/{KEY}/{maker}", f"tmp/{maker}/aged-x"]
    names = [f"images/{KEY}/facts.json", f"images/{KEY}/0123456789ab.vmdk", f"images/{KEY}/0123456789ab.20.vmdk", "sources/s.json"]
    listed = [FileInfo(ROOT.join(name), kind="folder") for name in folders] + [FileInfo(ROOT.join(name), size=7) for name in names]
    found = layout.read(ROOT, listed)
    one = found.entries[KEY]
    assert (one.is_whole, one.pinned, one.sizes, one.size, len(one.unused)) == (True, True, (20.0,), 21, 1)
    assert found.claims == {KEY: (maker, frozenset({"3"}))}
    assert found.temporary == {maker: frozenset({"aged-x"})}
    assert found.sources == {"s.json"}


def test_an_image_that_lost_a_file_is_not_whole() -> None:
    assert not Entry(KEY, ROOT, frozenset({"facts.json"})).is_whole
    assert not Entry(KEY, ROOT, frozenset({"0123456789ab.vmdk"})).is_whole


def test_makers() -> None:
    own = layout.new_maker(NOW)
    assert layout.made_since(own) == NOW
    assert not layout.is_dead(own)
    child = subprocess.Popen(["true"])
    child.wait()
    assert layout.is_dead(own.replace(f".{os.getpid()}.", f".{child.pid}."))
    # What runs elsewhere may live however it is named here.
    assert not layout.is_dead(".".join([own.split(".")[0], "0123456789ab", *own.split(".")[2:]]))
    assert layout.made_since("somebody's folder") is None
    assert len(layout.machine_name(own)) <= 80


def actions(one: Entry, *, used: bool = False, max_unused: float = 3600) -> list[str]:
    return [step.action for step in ageing.plan([one], [KEY] if used else [], NOW, max_unused)]


def test_which_images_are_aged() -> None:
    assert actions(entry()) == ["mark"]
    assert actions(entry(ago("ts", 10))) == []
    assert actions(entry(ago("ts", 3600))) == ["remove"]
    assert actions(entry(ago("ts", 3600), ago("used", 7200))) == ["remove"]
    assert actions(entry(ago("ts", 3600), ago("used", 10))) == ["clear"]
    assert actions(entry(ago("ts", 3600)), used=True) == ["clear"]
    assert actions(entry(), used=True) == []
    assert actions(entry("pinned")) == []
    assert actions(entry("pinned", ago("ts", 3600))) == ["clear"]


@given(st.booleans(), st.booleans(), st.lists(st.floats(0, 10_000), max_size=2), st.lists(st.floats(0, 10_000), max_size=2), st.floats(0, 10_000))
def test_what_is_pinned_or_used_is_never_removed(pinned: bool, used: bool, marks: list[float], uses: list[float], max_unused: float) -> None:
    folders = [*(["pinned"] if pinned else []), *(ago("ts", one) for one in marks), *(ago("used", one) for one in uses)]
    found = actions(entry(*folders), used=used, max_unused=max_unused)
    if "remove" in found:
        assert not pinned
        assert not used
        assert max(layout.seconds_of(name[3:]) or 0 for name in folders if name.startswith("ts-")) <= NOW - max_unused


@given(st.binary(max_size=100))
def test_damaged_facts_are_none(data: bytes) -> None:
    assert Facts.load(data) is None


def test_facts_are_read_back() -> None:
    facts = Facts("sha256:00", "vmdk", "sparse", "lsiLogic", 1, 2, 3, "otherGuest", "/a", 4.0, True)
    assert Facts.load(facts.dump()) == facts
