# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A datastore path is written as it was read, and never leaves its datastore."""

from __future__ import annotations

import dataclasses
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath

# All of Unicode that can be written, percent and other characters of URLs more often than chance has them.
letters = st.one_of(st.sampled_from(" %#?&+=.-_[];:é日"), st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\"))
names = st.text(letters, min_size=1, max_size=12).filter(lambda name: name == name.strip() and name not in (".", ".."))
datastores = names.filter(lambda name: not set("[]") & set(name))
paths = st.builds(DatastorePath, datastores, st.lists(names, max_size=4).map(tuple))
files = paths.filter(lambda path: not path.is_root)


@given(paths)
def test_what_is_printed_is_parsed_as_the_same(path: DatastorePath) -> None:
    assert DatastorePath.parse(str(path)) == path
    assert DatastorePath.parse(path) is path


@given(paths, st.lists(names, max_size=3))
def test_joining_goes_down_and_relative_to_tells_the_way(path: DatastorePath, more: list[str]) -> None:
    below = path.join(*more)
    assert below == path.join("/".join(more))
    assert below.is_within(path)
    assert path.join(below.relative_to(path)) == below
    assert below.is_within(path) and (path.is_within(below) == (not more))


@given(files)
def test_going_up_ends_at_the_root(path: DatastorePath) -> None:
    assert path.parent.join(path.basename) == path
    steps = 0
    while not path.is_root:
        path, steps = path.parent, steps + 1
    assert str(path) == f"[{path.datastore}]"
    with pytest.raises(ValueError, match="root"):
        _parent = path.parent


@given(files)
def test_stem_and_suffix_make_the_name(path: DatastorePath) -> None:
    assert path.stem + path.suffix == path.basename
    assert path.with_suffix(path.suffix) == path


@given(paths, names.map(lambda name: name.replace("%", "%25")), names)
def test_the_url_brings_every_name_through(path: DatastorePath, folder: str, datacenter: str) -> None:
    full = path.join(folder)
    url = urlsplit(f"https://vc{full.url_path(f'{datacenter}/DC')}")
    head, *quoted = url.path.split("/")[1:]
    assert head == "folder"
    assert tuple(unquote(part) for part in quoted) == full.parts
    assert parse_qs(url.query, strict_parsing=True) == {"dcPath": [f"{datacenter}/DC"], "dsName": [full.datastore]}
    assert url.path.isascii() and url.query.isascii()


@given(paths, paths)
def test_paths_are_values(one: DatastorePath, other: DatastorePath) -> None:
    assert (one == other) == (str(one) == str(other))
    assert len({one, other, DatastorePath.parse(str(one))}) == (1 if one == other else 2)
    assert sorted([one, other]) == sorted([other, one])


def test_a_path_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DatastorePath("ds").datastore = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "datastore", "parts"),
    [
        ("[ds]", "ds", ()),
        ("[ds] ", "ds", ()),
        ("[ds] a/b.vmdk", "ds", ("a", "b.vmdk")),
        ("[ds] a/b/", "ds", ("a", "b")),
        ("[my ds (1)] a b/[x] c.vmdk", "my ds (1)", ("a b", "[x] c.vmdk")),
    ],
)
def test_parsing(text: str, datastore: str, parts: tuple[str, ...]) -> None:
    assert DatastorePath.parse(text) == DatastorePath(datastore, parts)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a/b", "[ds", "[] a", "x[ds] a", "[ds]a", "[a]b] c", "[d/s] a", "[ ds] a", None, 7),
        *("[ds] /etc", "[ds] a/../b", "[ds] ..", "[ds] .", "[ds] a//b", "[ds]  a", "[ds] a ", "[ds] a\\b", "[ds] a\nb", "[ds] a\0"),
    ],
)
def test_what_is_no_path_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"path|datastore"):
        DatastorePath.parse(text)


@pytest.mark.parametrize("parts", [("..",), ("a", ".."), ("/etc",), ("a", "/etc"), ("a/../..",), (None,), ("a\\..",)])
def test_no_part_leads_out(parts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="path"):
        DatastorePath.of("ds", "pool").join(*parts)


def test_empty_parts_and_a_last_slash_add_nothing() -> None:
    assert DatastorePath.of("ds", "", "x/", "") == DatastorePath.of("ds", "x")
    assert DatastorePath.of("ds", "", "") == DatastorePath("ds")


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [("x.vmdk", "x", ".vmdk"), ("x.tar.gz", "x.tar", ".gz"), (".profile", ".profile", ""), ("x.", "x.", ""), ("x", "x", ""), ("..x", "..x", "")],
)
def test_suffixes(name: str, stem: str, suffix: str) -> None:
    path = DatastorePath.of("ds", name)
    assert (path.stem, path.suffix) == (stem, suffix)


def test_the_extent_of_a_disk() -> None:
    assert str(DatastorePath.parse("[ds] ci/x.vmdk").with_suffix("-flat.vmdk")) == "[ds] ci/x-flat.vmdk"


def test_a_folder_of_another_name_that_begins_alike_is_another() -> None:
    assert not DatastorePath.of("ds", "ci-10").is_within(DatastorePath.of("ds", "ci-1"))
    assert not DatastorePath.of("ds2", "a").is_within(DatastorePath.of("ds", "a"))
    with pytest.raises(ValueError, match="not within"):
        DatastorePath.of("ds", "b").relative_to(DatastorePath.of("ds", "a"))


def test_what_is_in_a_folder_follows_it() -> None:
    sort = sorted(DatastorePath.parse(text) for text in ("[b]", "[a] x-1", "[a] x/y", "[a] x"))
    assert [str(path) for path in sort] == ["[a] x", "[a] x/y", "[a] x-1", "[b]"]
