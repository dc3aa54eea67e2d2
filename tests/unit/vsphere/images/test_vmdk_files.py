# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read of a VMDK's own bytes, and that no bytes lead to anything but a disk or reasons."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.images import vmdk
from ansible_collections.poolwright.virt.plugins.module_utils.images.window import Window, open_window
from ansible_collections.poolwright.virt.tests.seeds import examples
from ansible_collections.poolwright.virt.tests.unit.images.fixtures import qemu_img

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("vmdk")
    raw = folder / "disk.raw"
    raw.write_bytes(random.Random(1).randbytes(MIB) + bytes(63 * MIB) + random.Random(2).randbytes(MIB))

    def make_one(subformat: str) -> Path:
        path = folder / f"{subformat}.vmdk"
        if not path.exists():
            qemu_img("convert", "-O", "vmdk", "-o", f"subformat={subformat},adapter_type=lsilogic", raw, path)
        return path

    return make_one


def read(path: Path) -> tuple[vmdk.Vmdk | None, list[str]]:
    with open_window(str(path)) as file:
        return vmdk.read(file)


@pytest.mark.parametrize(("subformat", "disk_type"), [("monolithicSparse", "sparse"), ("streamOptimized", "streamOptimized")])
def test_what_qemu_img_makes(make: Callable[[str], Path], subformat: str, disk_type: str) -> None:
    found, problems = read(make(subformat))
    assert problems == []
    assert found is not None
    assert (found.disk_type, found.virtual_size, found.adapter_type) == (disk_type, 65 * MIB, "lsiLogic")
    assert 2 * MIB <= found.allocated <= 3 * MIB


def footed(path: Path, target: Path) -> Path:
    """As VMware's own tools write it in one go: the directory's place is not in the header but in a footer at the end."""
    content = path.read_bytes()
    head = bytearray(content[:512])
    footer = bytes(head)
    head[56:64] = struct.pack("<Q", 2**64 - 1)
    target.write_bytes(bytes(head) + content[512:] + bytes(-len(content) % 512) + footer + bytes(512))
    return target


def test_a_directory_that_a_footer_tells(make: Callable[[str], Path], tmp_path: Path) -> None:
    path = footed(make("streamOptimized"), tmp_path / "foot.vmdk")
    found, problems = read(path)
    assert (problems, found and found.virtual_size) == ([], 65 * MIB)
    path.write_bytes(path.read_bytes()[:-1024])
    assert read(path) == (None, ["it has no footer: it is cut off"])


@pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
def test_what_is_in_several_files(make: Callable[[str], Path], subformat: str) -> None:
    found, problems = read(make(subformat))
    assert found is None
    assert "its data is in other files" in problems[0]


def test_a_part_of_a_file(make: Callable[[str], Path], tmp_path: Path) -> None:
    content = make("streamOptimized").read_bytes()
    (tmp_path / "archive").write_bytes(b"x" * 1000 + content + b"y" * 1000)
    with open_window(str(tmp_path / "archive")) as file:
        part = file.part(1000, len(content))
        assert part.stream().read() == content
        assert vmdk.read(part)[1] == []
        with pytest.raises(ValueError, match="not within"):
            part.part(1, len(content))
        assert Window(part.fd, 0, 10).read_at(8, 100) == b"xx"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(150))
@given(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=8), st.integers(0, 400_000))
@example([(35, 1)], 0)  # a place that is no number for the system
def test_damaged_bytes_are_a_disk_or_reasons(
    make: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int
) -> None:
    content = bytearray(make("streamOptimized").read_bytes())
    for place, value in changes:
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.vmdk"
    path.write_bytes(bytes(content[: len(content) - cut]))
    found, problems = read(path)
    assert (found is None) == bool(problems)


def test_a_descriptor_of_vspheres_own() -> None:
    text = b'# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="vmfs"\nRW 8192 VMFS "a-flat.vmdk"\nddb.adapterType = "ide"\n'
    found, problems = vmdk.read_descriptor(text)
    assert (problems, found) == ([], vmdk.Vmdk("preallocated", 4 * MIB, "ide", 4 * MIB))
    assert vmdk.read_descriptor(text.replace(b"parentCID=ffffffff", b'parentCID=1\nparentFileNameHint="b.vmdk"'))[0] is None
    assert vmdk.read_descriptor(text.replace(b"vmfs", b"vmfsSparse").replace(b"8192", b"0"))[0] is None
