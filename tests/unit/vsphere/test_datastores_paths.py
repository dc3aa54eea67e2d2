# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of disks and of unfinished files, descriptors, and the options of ``datastore_path``."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.disk_names import belongs_to, descriptor_of, is_descriptor, is_extent
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.extents import Descriptor, read_descriptor
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states import request, temporary
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.readahead import ReadAhead

ROOT = DatastorePath("ds")
DEFAULTS: dict[str, Any] = {
    "path": "[ds] a/b",
    "state": "stat",
    "src": None,
    "src_datacenter": None,
    "checksum": None,
    "compare": "content",
    "force": False,
    "recurse": False,
    "mode": "0644",
    "timeout": 60.0,
}


@pytest.mark.parametrize("name", ["x-flat.vmdk", "x-delta.vmdk", "x-sesparse.vmdk", "x-ctk.vmdk", "x-rdmp.vmdk", "x-s001.vmdk", "x-000001-delta.vmdk"])
def test_extents_are_told_by_their_names(name: str) -> None:
    path = ROOT.join("vm", name)
    assert is_extent(path)
    assert not is_descriptor(path)
    assert belongs_to(path, descriptor_of(path))
    assert is_descriptor(descriptor_of(path))


@pytest.mark.parametrize("name", ["x.vmdk", "x-000001.vmdk", "flat.vmdk", "X.VMDK"])
def test_descriptors_are_told_by_their_names(name: str) -> None:
    assert is_descriptor(ROOT.join(name))
    assert not is_extent(ROOT.join(name))


def test_what_is_no_disk_has_no_part_in_one() -> None:
    for name in ("x.iso", "x-flat.iso", "vmdk", "x-flat"):
        assert not is_extent(ROOT.join(name))
        assert not is_descriptor(ROOT.join(name))
    assert not belongs_to(ROOT.join("other-flat.vmdk"), ROOT.join("x.vmdk"))


def test_a_descriptor_is_read() -> None:
    text = b"""# Disk DescriptorFile
version=1
createType="vmfs"
parentFileNameHint="/vmfs/volumes/x/base.vmdk"

# Extent description
RW 4096 VMFS "x-flat.vmdk"
RW 2048 ZERO

ddb.adapterType = "lsilogic"
ddb.thinProvisioned = "1"
"""
    assert read_descriptor(text) == Descriptor(6144 * 512, "vmfs", "lsilogic", True, ("x-flat.vmdk",), "/vmfs/volumes/x/base.vmdk")


@given(st.binary(max_size=200))
def test_what_is_no_descriptor_is_an_empty_one(text: bytes) -> None:
    assert read_descriptor(b"KDMV\x01" + text.replace(b"RW", b"").replace(b"=", b"")).capacity == 0


@given(st.from_regex(r"[a-z%\[\]é .-]{0,8}[a-z](\.(iso|vmdk|x))?", fullmatch=True))
def test_an_unfinished_file_is_known_by_its_place_and_lives_with_its_maker(name: str) -> None:
    try:
        final = ROOT.join("folder", name)
    except ValueError:
        return
    made = temporary.temporary(final)
    assert made != temporary.temporary(final)
    assert temporary.is_temporary(made)
    assert not temporary.is_temporary(final)
    assert temporary.is_temporary_of(made, final)
    assert temporary.is_temporary_of(made.parent.join(f"{made.stem}-flat{made.suffix}"), final) or not final.suffix
    assert not temporary.is_temporary_of(made, ROOT.join(name))
    assert not temporary.is_temporary_of(made, final.parent.join(f"x{name}"))
    assert not temporary.is_abandoned(made, None, 0.0)


def test_an_unfinished_file_of_a_process_that_is_gone_is_abandoned() -> None:
    made = str(temporary.temporary(ROOT.join("x.iso")))
    with subprocess.Popen(["true"]) as process:
        child = process.pid
    gone = DatastorePath.parse(made.replace(f"-{os.getpid()}-", f"-{child}-"))
    assert temporary.is_abandoned(gone, None, 0.0)


def test_an_unfinished_file_of_another_host_is_abandoned_once_it_has_been_still_for_long() -> None:
    foreign = ROOT.join("x.poolwright-00000000-1-1-1abcd.iso")
    modified = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert not temporary.is_abandoned(foreign, modified, modified.timestamp() + 3599)
    assert temporary.is_abandoned(foreign, modified, modified.timestamp() + 3601)
    assert not temporary.is_abandoned(foreign, None, modified.timestamp())
    assert not temporary.is_abandoned(ROOT.join("x.iso"), modified, modified.timestamp() + 9999)


@pytest.mark.parametrize(
    ("given_options", "problem"),
    [
        ({"path": "ds/x"}, "path: 'ds/x' is no datastore path"),
        ({"path": "[ds] a/../b"}, "path: '..' cannot be a name"),
        ({"path": "[ds] /etc"}, "path: '/etc' is absolute"),
        ({"state": "absent", "path": "[ds]"}, "path: [ds] is the root of a datastore"),
        ({"state": "file"}, "src: needed with state: file"),
        ({"state": "directory", "src": "x"}, "src: goes with state"),
        ({"state": "copied", "src": "x"}, "src: 'x' is no datastore path"),
        ({"state": "moved", "src": "[ds]"}, "src: [ds] is the root"),
        ({"state": "file", "src": "x", "checksum": "md5:1"}, "checksum: give sha256:"),
        ({"checksum": "0" * 64}, "checksum: goes with state"),
        ({"src_datacenter": "DC1"}, "src_datacenter: goes with state"),
        ({"mode": "rw"}, "mode: 'rw' is no mode"),
        ({"timeout": 0.0}, "timeout: 0 is not above 0"),
        ({"state": "absent", "path": "[ds] x.poolwright-00000000-1-1-1abcd.iso"}, "unfinished files"),
    ],
)
def test_wrong_options_are_told(given_options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        request.parse({**DEFAULTS, **given_options})
    assert problem in str(caught.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidSpec) as caught:
        request.parse({**DEFAULTS, "state": "copied", "path": "x", "src": "y", "timeout": -1.0})
    assert len(caught.value.problems) == 3


@given(st.binary(max_size=300), st.integers(1, 64), st.integers(0, 400))
def test_reading_ahead_gives_the_bytes_in_order_and_their_hash(content: bytes, block: int, size: int) -> None:
    ahead = ReadAhead(io.BytesIO(content), size, block)
    with ahead.blocks() as blocks:
        read = b"".join(bytes(part) for part in blocks)
    assert read == content[:size]
    assert ahead.sha256 == hashlib.sha256(read).hexdigest()


def test_reading_ahead_ends_when_nobody_wants_more(tmp_path: Any) -> None:
    (tmp_path / "x").write_bytes(random.Random(1).randbytes(100_000))
    with open(tmp_path / "x", "rb", buffering=0) as stream, ReadAhead(stream, 100_000, 1000).blocks() as blocks:
        assert len(next(blocks)) == 1000


def test_a_stream_that_cannot_be_read_is_told(tmp_path: Any) -> None:
    with (
        open(tmp_path / "x", "wb", buffering=0) as stream,
        ReadAhead(stream, 10, 5).blocks() as blocks,
        pytest.raises(OSError, match=r"not open|not readable|File"),
    ):
        next(blocks)
