# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Contents of disks, by the real tools: sound, and the same bytes for the same description."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources, InvalidSpec, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import Backing, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.storage import digests, trees
from ansible_collections.poolwright.virt.plugins.module_utils.storage.contents import Contents, described
from ansible_collections.poolwright.virt.plugins.module_utils.storage.params import parse_disk
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import Origin, OwnDisk
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import Content, DiskWish

MIB = 1024 * 1024
PLACE = {"backend": "flat", "location": "/d", "name": "web-1_data"}
KINDS = {
    "ext2": (Content("ephemeral", "ext2", label="data"), 8),
    "ext3": (Content("ephemeral", "ext3"), 40),
    "ext4": (Content("ephemeral", "ext4", label="data"), 40),
    "xfs": (Content("ephemeral", "xfs", label="data"), 300),
    "vfat": (Content("ephemeral", "vfat", label="DATA"), 40),
    "swap": (Content("swap", label="swap0"), 16),
}


def soon() -> Deadline:
    return Deadline.after(Clock(), 300)


def wish(content: Content, size: int | None = None, name: str = "web-1_data") -> DiskWish:
    return DiskWish("flat", "/d", name, content=content, size=size)


def written(contents: Contents, path: Path) -> Path:
    """As a backend has it written: into an empty file, which then gets its size."""
    path.write_bytes(b"")
    contents.writer(soon())(str(path))
    assert path.stat().st_size <= contents.size
    os.truncate(path, contents.size)
    return path


def said(*argv: object) -> str:
    done = subprocess.run([str(part) for part in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "etc" / "deep").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "etc" / 'a "quoted" name').write_text("one\n")
    (top / "etc" / "deep" / "zero").write_bytes(b"")
    (top / "etc" / "deep" / "large").write_bytes(random.Random(3).randbytes(3 * MIB))
    (top / "run").write_text("#!/bin/sh\n")
    (top / "run").chmod(0o755)
    (top / "link").symlink_to("etc/deep")
    return top


def check(kind: str, path: Path) -> None:
    if kind.startswith("ext"):
        said("e2fsck", "-fn", path)
    elif kind == "xfs":
        said("xfs_repair", "-n", "-f", path)
    elif kind == "vfat":
        said("fsck.vfat", "-n", path)
    else:
        assert path.read_bytes()[4086:4096] == b"SWAPSPACE2"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_system_is_sound_and_always_the_same(kind: str, tmp_path: Path) -> None:
    content, size = KINDS[kind]
    first = written(described(wish(content, size * MIB), soon()), tmp_path / "first")
    time.sleep(1.1)  # the tools' own clocks have seconds
    second = written(described(wish(content, size * MIB), soon()), tmp_path / "second")
    other = written(described(wish(content, size * MIB, "web-2_data"), soon()), tmp_path / "other")
    assert digests.of_file(str(first), soon()) == digests.of_file(str(second), soon()) != digests.of_file(str(other), soon())
    check(kind, first)
    facts = said("blkid", "-p", "-o", "export", first)
    assert f"TYPE={kind}" in facts
    if content.label:
        assert f"LABEL={content.label}" in facts


@pytest.mark.parametrize("kind", ["iso9660", "ext2", "ext4"])
def test_a_tree_is_copied_in_the_same_way_whatever_order_the_host_has_it_in(kind: str, tree: Path, tmp_path: Path) -> None:
    first = written(described(wish(Content("directory", kind, str(tree), "cidata")), soon()), tmp_path / "first")
    # The same tree, made in another order, at another time.
    copy = tmp_path / "copy"
    for path in sorted(tree.rglob("*"), reverse=True):
        target = copy / path.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            target.symlink_to(os.readlink(path))
        elif path.is_file():
            shutil.copy2(path, target)
            os.utime(target, (1, 1))
        else:
            target.mkdir(exist_ok=True)
    for path in (tree, *tree.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            (copy / path.relative_to(tree)).chmod(path.stat().st_mode)
    second = written(described(wish(Content("directory", kind, str(copy), "cidata")), soon()), tmp_path / "second")
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()
    assert trees.digest(trees.look(str(tree), soon()), owners=True, deadline=soon()) == trees.digest(
        trees.look(str(copy), soon()), owners=True, deadline=soon()
    )
    out = tmp_path / "out"
    if kind == "iso9660":
        said("xorriso", "-osirrox", "on", "-indev", first, "-extract", "/", out)
        assert "LABEL=cidata" in said("blkid", "-p", "-o", "export", first)
    else:
        said("e2fsck", "-fn", first)
        out.mkdir()
        said("debugfs", "-R", f"rdump / {out}", first)
        (out / "lost+found").rmdir()
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*")) == sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    for path in tree.rglob("*"):
        found = out / path.relative_to(tree)
        if path.is_symlink():
            assert os.readlink(found) == os.readlink(path)
        elif path.is_file():
            assert found.read_bytes() == path.read_bytes()
            assert found.stat().st_mode & 0o111 == path.stat().st_mode & 0o111


def test_a_tree_that_does_not_fit_is_refused_before_anything_is_written(tree: Path) -> None:
    for kind in ("iso9660", "ext4"):
        with pytest.raises(InvalidSpec, match="too few"):
            described(wish(Content("directory", kind, str(tree)), MIB), soon())


def test_a_tree_that_grew_meanwhile_is_told(tree: Path, tmp_path: Path) -> None:
    contents = described(wish(Content("directory", "ext4", str(tree)), 20 * MIB), soon())
    (tree / "etc" / "deep" / "large").write_bytes(random.Random(3).randbytes(30 * MIB))
    with pytest.raises(InsufficientResources, match="does not fit"):
        written(contents, tmp_path / "disk")
    (tree / "etc" / "deep" / "large").unlink()
    with pytest.raises(VirtError, match="could not copy all of the tree"):
        written(contents, tmp_path / "disk")


def test_what_cannot_be_copied_is_named(tree: Path) -> None:
    os.mkfifo(tree / "fifo")
    (tree / "a\nb").write_text("")
    with pytest.raises(InvalidSpec) as caught:
        described(wish(Content("directory", "iso9660", str(tree))), soon())
    assert ["fifo" in problem for problem in caught.value.problems] == [False, True]
    with pytest.raises(NotFound, match="there is no such directory"):
        described(wish(Content("directory", "iso9660", "/nowhere/at/all")), soon())


@pytest.mark.parametrize("kind", ["ext4", "xfs", "swap"])
def test_too_small_a_size_is_refused_with_one_that_would_do(kind: str) -> None:
    with pytest.raises(InvalidSpec, match="are too few for"):
        described(wish(KINDS[kind][0], 4096), soon())


# --- digests


def test_the_digest_is_of_what_is_not_zero(tmp_path: Path) -> None:
    chance = random.Random(5)
    data = bytes(100_000) + chance.randbytes(200_000) + bytes(3 * MIB) + chance.randbytes(5)
    dense, sparse, longer = tmp_path / "dense", tmp_path / "sparse", tmp_path / "longer"
    dense.write_bytes(data)
    subprocess.run(["cp", "--sparse=always", dense, sparse], check=True)
    longer.write_bytes(data + bytes(MIB))
    found = {digests.of_file(str(path), soon()) for path in (dense, sparse, longer)}
    for step in (1, 7, 65536, 100_000):
        stream = digests.DigestStream()
        for begin in range(0, len(data), max(step, 1000)):
            stream.write(data[begin : begin + max(step, 1000)])
        found.add(stream.digest)
    assert len(found) == 1
    dense.write_bytes(b"\0" + data)
    assert digests.of_file(str(dense), soon()) not in found


# --- parameters


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"content": "full"}, "content: 'full' is neither blank nor"),
        ({"content": {}, "size_gb": 1, "backend": ""}, "backend: is missing"),
        ({"content": {"swap": True, "ephemeral": "ext4"}, "size_gb": 1}, "content: has ephemeral and swap"),
        ({"content": {"label": "x"}, "size_gb": 1}, "content: has nothing to be on the disk"),
        ({"content": {"swap": True, "as": "ext4"}, "size_gb": 1}, "content.as: goes with directory"),
        ({"content": {"swap": True, "kind": 1}, "size_gb": 1}, "content.kind: is not known"),
        ({"content": {"ephemeral": "ntfs"}, "size_gb": 1}, "content.ephemeral: 'ntfs' is not one of ext2"),
        ({"content": {"ephemeral": "ext4"}}, "size_gb: is missing"),
        ({"content": {"directory": "x"}}, "content.directory: 'x' is no absolute path"),
        ({"content": {"directory": "/x", "as": "xfs"}}, "content.as: 'xfs' is not one of iso9660"),
        ({"content": {"swap": True, "label": "a b"}, "size_gb": 1}, "content.label: 'a b' is not"),
        ({"content": {"blank": True, "label": "a"}, "size_gb": 1}, "content.label: a blank disk has none"),
        ({"content": {"ephemeral": "vfat", "label": "twelve-chars"}, "size_gb": 1}, "content.label: 'twelve-chars' is not 1 to 11"),
        ({"image": {"source": "x"}}, "image.source: 'x' is neither"),
        ({"image": {"source": "/x", "checksum": "md5:1"}}, "image.checksum: md5 can be forged"),
        ({"image": {"source": "/x"}, "content": "blank", "size_gb": 1}, "content: give either image or content"),
        ({"size_gb": 0}, "size_gb: 0 is not above 0"),
        ({"size_gb": 1, "clear": "zero"}, "disk: the disk backend flat has no option clear"),
        ({"size_gb": 1, "name": ".."}, "disk: the disk name '..'"),
    ],
)
def test_a_wrong_description_is_told_with_its_place(raw: dict[str, Any], words: str) -> None:
    problems: list[str] = []
    parse_disk("", {**PLACE, **raw}, lambda key, what: problems.append(f"{key}: {what}"))
    assert [problem for problem in problems if problem.startswith(words)], problems


def test_a_description_is_parsed() -> None:
    problems: list[str] = []

    def parsed(**raw: Any) -> DiskWish:
        return parse_disk("", {**PLACE, **raw}, lambda key, what: problems.append(f"{key}: {what}"))

    assert parsed(content={"swap": "yes", "label": "s"}, size_gb=1).content == Content("swap", label="s")
    assert parsed(content={"directory": "/a/", "label": "cidata"}).content == Content("directory", "iso9660", "/a", "cidata")
    assert parsed(content="blank", size_gb=0.5, preallocation="full") == DiskWish(
        "flat", "/d", "web-1_data", content=Content("blank"), size=512 * MIB, options=DiskOptions(preallocation="full")
    )
    image = parsed(image={"source": "https://a/b.VMDK.xz", "format": "vmdk", "checksum": "https://a/SHA256SUMS"}).image
    assert image is not None
    assert (image.compression, image.convert_to) == ("xz", "qcow2")
    assert not parsed().is_made
    assert problems == []


# --- records


def test_a_record_says_all_that_makes_the_same_disk() -> None:
    record = DiskRecord("rbd", "raw", "rbd/a", MIB, "sha256:1", Backing("rbd/b@base", "raw", "sha256:1"))
    for origin in (Origin("https://***@a/b?***", "sha256:1", "vmdk", "xz", "qcow2"), Origin(content=Content("swap"), seed="a", digest="blocks-sha256:2")):
        own = OwnDisk("rbd", "a", record, True, DiskOptions(conf="/c", user="u", cluster_size=0), origin)
        assert OwnDisk.from_dict(own.to_dict()) == own
        assert OwnDisk.from_dict({key: value if isinstance(value, dict) else str(value) for key, value in own.to_dict().items()}) == own


@pytest.mark.parametrize(
    "damage", [{"location": None}, {"size": "x"}, {"options": {"cluster_size": "x"}}, {"origin": {"no": "1"}}, {"origin": {"content": {"x": 1}}}]
)
def test_a_damaged_record_is_told(damage: dict[str, Any]) -> None:
    own = OwnDisk("/d", "a", DiskRecord("flat", "raw", "/d/a.raw", MIB)).to_dict()
    data = {key: value for key, value in {**own, **damage}.items() if value is not None}
    with pytest.raises(InvalidSpec, match="record is damaged"):
        OwnDisk.from_dict(data)
