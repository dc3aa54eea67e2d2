# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cache: downloads once, keeps only what it may, survives kills at every step, and never asks the network in vain."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    Busy,
    ChecksumMismatch,
    ImageRefused,
    InsufficientResources,
    InvalidSpec,
    NotFound,
    OperationFailed,
    TransferFailed,
)
from ansible_collections.poolwright.virt.plugins.module_utils.images import inspect as inspection
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage, ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.inspect import RULES_VERSION
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.tests.seeds import steps

MIB = 1024 * 1024
ENSURE = Path(__file__).with_name("run_ensure.py")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_an_image_with_a_checksum_is_fetched_once_and_then_found_without_the_network(
    web: Any, cache: ImageCache, root: Path, qcow2_image: Path, sha256: Any, soon: Deadline, files_below: Any
) -> None:
    source = ImageSource(web.add("/disk", qcow2_image.read_bytes()), sha256(qcow2_image), "qcow2")
    assert cache.lookup(source) is None
    assert not root.exists()
    image = cache.ensure(source, soon)
    digits = sha256(qcow2_image)[7:]
    assert image.path == str(root / "sha256" / f"{digits}.qcow2")
    assert Path(image.path).read_bytes() == qcow2_image.read_bytes()
    assert (image.digest, image.format, image.virtual_size, image.size) == (f"sha256:{digits}", "qcow2", 8 * MIB, qcow2_image.stat().st_size)
    assert cache.ensure(source, soon) == image == cache.lookup(source)
    assert len(web.requests) == 1
    assert files_below(root) == [f"sha256/{digits}.qcow2", f"sha256/{digits}.qcow2.json"]


def test_qemu_can_read_what_is_cached_whatever_the_umask(cache: ImageCache, root: Path, raw_image: Path, soon: Deadline) -> None:
    before = os.umask(0o077)
    try:
        image = cache.ensure(ImageSource(str(raw_image), None, "raw"), soon)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(image.path).st_mode) == 0o644
    assert stat.S_IMODE(os.stat(root).st_mode) == stat.S_IMODE(os.stat(root / "sha256").st_mode) == 0o755
    assert stat.S_IMODE(os.stat(root / "tmp").st_mode) == 0o700


def test_holes_of_an_image_stay_holes(cache: ImageCache, raw_image: Path, soon: Deadline) -> None:
    image = cache.ensure(ImageSource(str(raw_image), None, "raw"), soon)
    assert os.stat(image.path).st_blocks * 512 < 4 * MIB
    assert image.allocated < 4 * MIB


def test_a_checksum_may_be_in_a_file_that_a_run_reads_once(
    web: Any, cache: ImageCache, root: Path, clock: Clock, raw_image: Path, qcow2_image: Path, sha256: Any, soon: Deadline
) -> None:
    url = web.add("/disk", raw_image.read_bytes())
    sums = web.add("/SHA256SUMS", f"{sha256(raw_image)[7:]}  disk\n".encode())
    source = ImageSource(url, sums, "raw")
    assert cache.lookup(source) is None
    assert cache.foresee(source, soon) is None
    made = cache.ensure(source, soon)
    assert made.digest == sha256(raw_image)
    assert cache.ensure(source, soon) == cache.foresee(source, soon) == cache.lookup(source) == made
    assert (web.downloads("/SHA256SUMS"), web.downloads("/disk")) == (1, 1)
    # What the file says in the next run counts there, and what comes has to be that.
    web.add("/SHA256SUMS", f"{sha256(qcow2_image)[7:]}  disk\n".encode())
    later = ImageCache(str(root), clock)
    assert later.lookup(source) is None
    with pytest.raises(ChecksumMismatch):
        later.ensure(source, soon)


def test_sha512_is_its_own_address(cache: ImageCache, root: Path, raw_image: Path, soon: Deadline) -> None:
    digest = "sha512:" + hashlib.sha512(raw_image.read_bytes()).hexdigest()
    assert cache.ensure(ImageSource(str(raw_image), digest, "raw"), soon).path == str(root / "sha512" / f"{digest[7:]}.raw")


def test_the_record_says_where_an_image_came_from_without_its_secrets(web: Any, cache: ImageCache, raw_image: Path, sha256: Any, soon: Deadline) -> None:
    web.add("/disk", raw_image.read_bytes())
    image = cache.ensure(ImageSource(f"http://jane:hunter2@{web.address}/disk?token=s3cret", sha256(raw_image), "raw"), soon)
    text = Path(image.path + ".json").read_text()
    assert json.loads(text)["source"] == f"http://***@{web.address}/disk?***"
    assert "hunter2" not in text and "s3cret" not in text


def test_use_is_recorded(cache: ImageCache, raw_image: Path, soon: Deadline) -> None:
    source = ImageSource(str(raw_image), None, "raw")
    record = cache.ensure(source, soon).path + ".json"
    os.utime(record, (1, 1))
    cache.lookup(source)
    assert os.stat(record).st_mtime == 1
    cache.ensure(source, soon)
    assert os.stat(record).st_mtime > 1_700_000_000


# --- nothing that is refused is kept


def test_bytes_that_do_not_match_the_checksum_are_not_kept(
    web: Any, cache: ImageCache, root: Path, raw_image: Path, sha256: Any, soon: Deadline, files_below: Any
) -> None:
    with pytest.raises(ChecksumMismatch, match="nothing was kept"):
        cache.ensure(ImageSource(web.add("/disk", raw_image.read_bytes()), sha256(b"other"), "raw"), soon)
    assert files_below(root) == []


@pytest.mark.parametrize("with_checksum", [True, False])
def test_a_refused_image_is_not_kept(
    cache: ImageCache, root: Path, qcow2_image: Path, sha256: Any, soon: Deadline, files_below: Any, with_checksum: bool
) -> None:
    with pytest.raises(ImageRefused, match="said to be raw"):
        cache.ensure(ImageSource(str(qcow2_image), sha256(qcow2_image) if with_checksum else None, "raw"), soon)
    assert files_below(root) == []


def test_a_broken_transfer_leaves_nothing(web: Any, cache: ImageCache, root: Path, soon: Deadline, files_below: Any) -> None:
    with pytest.raises(TransferFailed):
        cache.ensure(ImageSource(web.add("/disk", b"x" * 5000, say_length=9000), None, "raw"), soon)
    assert files_below(root) == []


def test_a_bad_description_is_refused_before_anything_is_made(cache: ImageCache, root: Path, soon: Deadline) -> None:
    with pytest.raises(InvalidSpec):
        cache.ensure(ImageSource("disk", "md5:0", "vmdk"), soon)
    assert not root.exists()


def test_a_cache_that_cannot_be_made_is_no_traceback(tmp_path: Path, clock: Clock, raw_image: Path, soon: Deadline) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperationFailed):
        ImageCache(str(tmp_path / "file" / "cache"), clock).ensure(ImageSource(str(raw_image), None, "raw"), soon)


# --- sources without a checksum


def test_a_local_image_is_hashed_again_only_after_it_changed(cache: ImageCache, tmp_path: Path, raw_image: Path, soon: Deadline) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(raw_image.read_bytes())
    source = ImageSource(str(path), None, "raw")
    first = cache.ensure(source, soon)
    assert cache.lookup(source) == first
    inode = os.stat(first.path).st_ino
    assert cache.ensure(source, soon) == first
    assert os.stat(first.path).st_ino == inode
    with open(path, "r+b") as stream:
        stream.write(b"changed")
    os.utime(path, ns=(0, 0))  # its time put back does not hide it
    assert cache.lookup(source) is None
    assert cache.ensure(source, soon).digest != first.digest
    path.unlink()
    assert cache.lookup(source) is None
    with pytest.raises(NotFound):
        cache.ensure(source, soon)


def test_a_url_is_asked_once_per_run_and_sent_again_only_when_changed(web: Any, root: Path, clock: Clock, raw_image: Path, soon: Deadline) -> None:
    source = ImageSource(web.add("/disk", raw_image.read_bytes(), etag='"1"'), None, "raw")
    run = ImageCache(str(root), clock)
    first = run.ensure(source, soon)
    assert run.ensure(source, soon) == first
    assert [status for _path, status, _headers in web.requests] == [200]
    again = ImageCache(str(root), clock)
    assert again.lookup(source) == first
    assert again.ensure(source, soon) == first == again.ensure(source, soon)
    assert [status for _path, status, _headers in web.requests] == [200, 304]
    web.add("/disk", raw_image.read_bytes() + bytes(512), etag='"2"')
    assert ImageCache(str(root), clock).ensure(source, soon).virtual_size == first.virtual_size + 512
    assert [status for _path, status, _headers in web.requests] == [200, 304, 200]
    assert os.path.exists(first.path)  # machines stand on it


def test_a_url_is_sent_again_when_its_image_vanished(web: Any, root: Path, clock: Clock, raw_image: Path, soon: Deadline) -> None:
    source = ImageSource(web.add("/disk", raw_image.read_bytes(), etag='"1"'), None, "raw")
    first = ImageCache(str(root), clock).ensure(source, soon)
    os.unlink(first.path)
    assert ImageCache(str(root), clock).ensure(source, soon) == first
    assert web.downloads("/disk") == 2


def test_two_names_of_one_image_share_it(cache: ImageCache, tmp_path: Path, raw_image: Path, soon: Deadline) -> None:
    (tmp_path / "copy").write_bytes(raw_image.read_bytes())
    assert cache.ensure(ImageSource(str(raw_image), None, "raw"), soon) == cache.ensure(ImageSource(str(tmp_path / "copy"), None, "raw"), soon)


# --- it mends itself


@pytest.mark.parametrize("damage", ["missing", "shorter", "no record", "damaged record", "record of another"])
def test_a_damaged_entry_is_fetched_again(web: Any, cache: ImageCache, raw_image: Path, sha256: Any, soon: Deadline, damage: str) -> None:
    source = ImageSource(web.add("/disk", raw_image.read_bytes()), sha256(raw_image), "raw")
    image = cache.ensure(source, soon)
    record = Path(image.path + ".json")
    if damage == "missing":
        os.unlink(image.path)
    elif damage == "shorter":
        os.truncate(image.path, 4096)
    elif damage == "no record":
        record.unlink()
    else:
        record.write_text("{" if damage == "damaged record" else record.read_text().replace('"sha256:', '"sha256:0'))
    assert cache.lookup(source) is None
    assert cache.ensure(source, soon) == image
    assert Path(image.path).read_bytes() == raw_image.read_bytes()
    assert web.downloads("/disk") == 2


def test_new_rules_look_at_a_cached_image_again_without_fetching_it(
    web: Any, cache: ImageCache, raw_image: Path, sha256: Any, soon: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ImageSource(web.add("/disk", raw_image.read_bytes()), sha256(raw_image), "raw")
    image = cache.ensure(source, soon)
    monkeypatch.setattr(inspection, "RULES_VERSION", RULES_VERSION + 1)
    assert cache.lookup(source) is None
    assert cache.ensure(source, soon) == image == cache.lookup(source)
    assert web.downloads("/disk") == 1


# --- several at once


def test_four_processes_at_once_download_once(web: Any, root: Path, start_python: Any, qcow2_image: Path, sha256: Any) -> None:
    for path, checksum in (("/known", sha256(qcow2_image)), ("/unknown", None)):
        url = web.add(path, qcow2_image.read_bytes(), stall_at=4096, etag='"1"')
        processes = [start_python(ENSURE, root=str(root), source=url, checksum=checksum, format="qcow2") for _time in range(4)]
        assert web.pages[path].stalled.wait(600)
        assert [process.stdout.readline() for process in processes] == ["about to\n"] * 4
        web.pages[path].go_on.set()
        outcomes = [(process.communicate(timeout=600), process.returncode) for process in processes]
        assert {code for _texts, code in outcomes} == {0}, outcomes
        assert len({texts[0] for texts, _code in outcomes}) == 1
        assert web.downloads(path) == 1


def test_twelve_threads_download_once(web: Any, cache: ImageCache, root: Path, qcow2_image: Path, sha256: Any, soon: Deadline, files_below: Any) -> None:
    source = ImageSource(web.add("/disk", qcow2_image.read_bytes()), sha256(qcow2_image), "qcow2")
    found: list[CachedImage] = []
    threads = [threading.Thread(target=lambda: found.append(cache.ensure(source, soon))) for _time in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 12
    assert len(set(found)) == 1
    assert web.downloads("/disk") == 1
    assert len(files_below(root)) == 2


def test_waiting_for_another_run_ends_at_the_deadline(
    web: Any, cache: ImageCache, root: Path, start_python: Any, clock: Clock, qcow2_image: Path, sha256: Any
) -> None:
    checksum = sha256(qcow2_image)
    url = web.add("/disk", qcow2_image.read_bytes(), stall_at=4096)
    holder = start_python(ENSURE, root=str(root), source=url, checksum=checksum, format="qcow2")
    assert web.pages["/disk"].stalled.wait(600)
    with pytest.raises(Busy, match=f"process {holder.pid} since 20"):
        cache.ensure(ImageSource(url, checksum, "qcow2"), Deadline.after(clock, 0.1))


# --- killed


@pytest.mark.parametrize("sent", [0, 1, 4096, 300_000, 2 * MIB])
def test_a_killed_download_leaves_nothing_to_the_next_run(
    web: Any, cache: ImageCache, root: Path, start_python: Any, qcow2_image: Path, sha256: Any, soon: Deadline, files_below: Any, sent: int
) -> None:
    checksum = sha256(qcow2_image)
    url = web.add("/disk", qcow2_image.read_bytes(), stall_at=sent)
    process = start_python(ENSURE, root=str(root), source=url, checksum=checksum, format="qcow2")
    assert web.pages["/disk"].stalled.wait(600)
    process.kill()
    process.wait()
    assert any(".part/" in name for name in files_below(root))
    assert any(name.endswith(".lock") for name in files_below(root))
    web.add("/disk", qcow2_image.read_bytes())
    image = cache.ensure(ImageSource(url, checksum, "qcow2"), soon)
    assert Path(image.path).read_bytes() == qcow2_image.read_bytes()
    assert len(files_below(root)) == 2


def test_a_living_download_is_not_swept(web: Any, cache: ImageCache, root: Path, start_python: Any, qcow2_image: Path, raw_image: Path, soon: Deadline) -> None:
    url = web.add("/disk", qcow2_image.read_bytes(), stall_at=4096)
    process = start_python(ENSURE, root=str(root), source=url, format="qcow2")
    assert web.pages["/disk"].stalled.wait(600)
    cache.ensure(ImageSource(str(raw_image), None, "raw"), soon)
    assert cache.sweep() == []
    web.pages["/disk"].go_on.set()
    assert process.communicate(timeout=600)[1] == ""
    assert process.returncode == 0


@pytest.mark.parametrize("with_checksum", [True, False])
def test_killed_at_any_step_the_next_run_is_right(
    web: Any, tmp_path: Path, clock: Clock, run_killed_at: Any, qcow2_image: Path, sha256: Any, soon: Deadline, files_below: Any, with_checksum: bool
) -> None:
    checksum = sha256(qcow2_image) if with_checksum else None
    url = web.add("/disk", qcow2_image.read_bytes(), etag='"1"')
    digits = sha256(qcow2_image)[7:]
    for step in steps(300, gate=12, soak=3):
        root = tmp_path / f"cache{step}"
        finished = run_killed_at(ENSURE, step, root=str(root), source=url, checksum=checksum, format="qcow2")
        final = root / "sha256" / f"{digits}.qcow2"
        assert not final.exists() or final.read_bytes() == qcow2_image.read_bytes()
        cache = ImageCache(str(root), clock)
        image = cache.ensure(ImageSource(url, checksum, "qcow2"), soon)
        assert Path(image.path).read_bytes() == qcow2_image.read_bytes()
        assert [name for name in files_below(root) if not name.startswith("sources/")] == [f"sha256/{digits}.qcow2", f"sha256/{digits}.qcow2.json"]
        if finished:
            break
    assert step > 20


# --- a full disk


def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, clock: Clock, raw_image: Path, soon: Deadline, small_disk: Path, files_below: Any, web: Any
) -> None:
    cache = ImageCache(str(small_disk / "cache"), clock)
    chunked = web.add("/disk", os.urandom(8 * MIB), say_length=None)
    for source in (str(raw_image), chunked):
        with pytest.raises(InsufficientResources, match="free some space"):
            cache.ensure(ImageSource(source, None, "raw"), soon)
        assert files_below(small_disk) == []
    fitting = tmp_path / "fitting"
    fitting.write_bytes(b"x" * 4096)
    assert cache.ensure(ImageSource(str(fitting), None, "raw"), soon).size == 4096
