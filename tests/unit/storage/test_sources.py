# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a check run says of images that are not in the cache is what the run then finds."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ChecksumMismatch
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage, ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.storage.sources import Sources

MIB = 1024 * 1024


def image(cache: Path, source: ImageSource, *, fetch: bool) -> CachedImage:
    clock = Clock()
    return Sources(ImageCache(str(cache), clock), Deadline.after(clock, 600), fetch=fetch).image(source)


def made(folder: Path, kind: str) -> ImageSource:
    raw, path = folder / "raw", folder / f"disk.{kind.partition(' ')[0]}"
    raw.write_bytes(os.urandom(8 * MIB))
    subformat = ["-o", f"subformat={kind.partition(' ')[2]}"] if " " in kind else []
    target = "qcow2" if kind == "gz" else path.suffix[1:]
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", target, *subformat, str(raw), str(path)], check=True)
    if kind == "gz":
        path.write_bytes(gzip.compress(path.read_bytes(), 1))
    return ImageSource(str(path), None, target, "gzip" if kind == "gz" else "", "qcow2" if target == "vmdk" else "")


@pytest.mark.parametrize("kind", ["qcow2", "vmdk monolithicSparse", "vmdk monolithicFlat", "vmdk twoGbMaxExtentSparse", "gz"])
def test_an_image_is_judged_without_bringing_it(tmp_path: Path, kind: str) -> None:
    source = made(tmp_path, kind)
    judged = image(tmp_path / "cache", source, fetch=False)
    assert not (tmp_path / "cache").exists()
    fetched = image(tmp_path / "cache", source, fetch=True)
    assert (judged.digest, judged.format) == (fetched.digest, fetched.format)
    # What is in several files, or packed, has no size before it has come.
    assert judged.virtual_size == 8 * MIB if judged.size else kind in ("gz", "vmdk monolithicFlat", "vmdk twoGbMaxExtentSparse")


def test_a_checksum_in_a_file_is_held_against_it(tmp_path: Path) -> None:
    source, sums = made(tmp_path, "qcow2"), tmp_path / "SHA256SUMS"
    for digits, right in ((hashlib.sha256(Path(source.path).read_bytes()).hexdigest(), True), ("0" * 64, False)):
        sums.write_text(f"{digits}  disk.qcow2\n")
        named = ImageSource(source.source, str(sums), "qcow2")
        if right:
            assert image(tmp_path / "cache", named, fetch=False).digest == f"sha256:{digits}"
        else:
            with pytest.raises(ChecksumMismatch):
                image(tmp_path / "cache", named, fetch=False)
