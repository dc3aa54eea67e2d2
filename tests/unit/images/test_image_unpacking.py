# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compressed sources, checksums in files of their own, directories of images, and transfers that break off."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    ChecksumMismatch,
    ImageRefused,
    InsufficientResources,
    InvalidSpec,
    NotFound,
    TransferFailed,
)
from ansible_collections.poolwright.virt.plugins.module_utils.images import checksums
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.fetch import fetch, measure
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.tests.seeds import examples, seeds
from ansible_collections.poolwright.virt.tests.unit.images.corpus import zstd
from ansible_collections.poolwright.virt.tests.unit.images.ranges import Ranges, serving

MIB = 1024**2
PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "xz": lambda data: lzma.compress(data, preset=1), "zstd": zstd}


@pytest.fixture
def unpacked(tmp_path: Path, soon: Deadline) -> Callable[..., bytes]:
    """Fetch a compressed file, and return what was kept of it."""

    def run(data: bytes, compression: str, most: int = 1024 * MIB) -> bytes:
        (tmp_path / "packed").write_bytes(data)
        with open(tmp_path / "out", "wb", buffering=0) as stream:
            got = fetch(ImageSource(str(tmp_path / "packed"), None, "raw", compression), stream.fileno(), str(tmp_path), soon, max_unpacked_size=most)
        assert got is not None
        assert (got.digest, got.size) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
        result = (tmp_path / "out").read_bytes()
        assert got.stored == len(result)
        return result

    return run


# --- compression


@pytest.mark.parametrize("compression", PACKERS)
@pytest.mark.parametrize("size", [1, 65536, MIB - 1, MIB, MIB + 1, 5 * MIB + 77])
def test_what_was_packed_comes_out(unpacked: Any, compression: str, size: int) -> None:
    data = (random.Random(size).randbytes(300_000) + bytes(500_000)) * 8
    assert unpacked(PACKERS[compression](data[:size]), compression) == data[:size]


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.tuples(st.sampled_from(["gzip", "xz"]), st.integers(1, 200_000)), min_size=1, max_size=5), compression=st.sampled_from(["gzip", "xz"]))
def test_members_one_after_another_come_out_as_one(unpacked: Any, parts: list[tuple[str, int]], compression: str) -> None:
    pieces = [random.Random(size).randbytes(size) for _kind, size in parts]
    assert unpacked(b"".join(PACKERS[compression](piece) for piece in pieces), compression) == b"".join(pieces)


@pytest.mark.parametrize("compression", PACKERS)
def test_zeros_become_holes(unpacked: Any, tmp_path: Path, compression: str) -> None:
    unpacked(PACKERS[compression](bytes(16 * MIB)), compression)
    assert os.stat(tmp_path / "out").st_blocks * 512 < MIB


@pytest.mark.parametrize("compression", PACKERS)
def test_the_limit_is_exact(unpacked: Any, compression: str) -> None:
    packed = PACKERS[compression](bytes(3 * MIB))
    assert len(unpacked(packed, compression, 3 * MIB)) == 3 * MIB
    with pytest.raises(ImageRefused, match="more than the 3145727 bytes"):
        unpacked(packed, compression, 3 * MIB - 1)


@pytest.mark.parametrize("compression", PACKERS)
@pytest.mark.parametrize("seed", seeds(gate=2, soak=6))
def test_any_damage_is_told_or_harmless(unpacked: Any, compression: str, seed: int) -> None:
    chance = random.Random(seed)
    packed = bytearray(PACKERS[compression](chance.randbytes(400_000)))
    packed[chance.randrange(len(packed))] ^= 1 << chance.randrange(8)
    try:
        unpacked(bytes(packed), compression)
    except ImageRefused as exc:
        assert exc.phase == "unpack"


def test_memory_stays_flat_while_a_bomb_goes_off(unpacked: Any) -> None:
    for compression in PACKERS:
        packed = PACKERS[compression](bytes(128 * MIB))
        unpacked(PACKERS[compression](b"x"), compression)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(ImageRefused):
            unpacked(packed, compression, 120 * MIB)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 80 * 1024, compression


def test_no_tool_is_left_running(unpacked: Any) -> None:
    with pytest.raises(ImageRefused):
        unpacked(zstd(bytes(32 * MIB)), "zstd", MIB)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert [child for child in children if "zstd" in Path(f"/proc/{child}/cmdline").read_text()] == []


@pytest.mark.parametrize("compression", PACKERS)
def test_a_full_disk_is_said_while_unpacking(small_disk: Path, clock: Clock, tmp_path: Path, soon: Deadline, files_below: Any, compression: str) -> None:
    packed = tmp_path / "image"
    packed.write_bytes(PACKERS[compression](os.urandom(MIB) * 4))
    source = ImageSource(str(packed), None, "raw", compression)
    cache = ImageCache(str(small_disk / "cache"), clock)
    with pytest.raises(InsufficientResources, match="free some space"):
        cache.ensure(source, soon)
    assert files_below(small_disk) == []
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    assert cache.ensure(source, soon).size == 4 * MIB


def test_the_file_as_fetched_and_what_was_in_it_share_a_digest_not_a_name(cache: ImageCache, tmp_path: Path, raw_image: Path, soon: Deadline) -> None:
    packed = tmp_path / "image.xz"
    packed.write_bytes(PACKERS["xz"](raw_image.read_bytes()))
    digest = f"sha256:{hashlib.sha256(packed.read_bytes()).hexdigest()}"
    image = cache.ensure(ImageSource(str(packed), digest, "raw", "xz"), soon)
    assert image.path.endswith(f"{digest[7:]}.xz.raw")
    assert Path(image.path).read_bytes() == raw_image.read_bytes()
    assert cache.lookup(ImageSource(str(packed), digest, "raw")) is None


# --- checksums in files

DIGITS, OTHER = "0123456789abcdef" * 4, "fedcba9876543210" * 4


@pytest.mark.parametrize(
    "text",
    [
        f"{DIGITS}  disk.qcow2\n",
        f"{OTHER}  other\n{DIGITS.upper()} *disk.qcow2\r\n",
        f"{DIGITS}  ./images/disk.qcow2\n",
        f"SHA256 (disk.qcow2) = {DIGITS}\n",
        f"{DIGITS}\n",
        f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{DIGITS}  disk.qcow2\n-----BEGIN PGP SIGNATURE-----\n",
        f"{OTHER}  adisk.qcow2\n{OTHER}  disk.qcow2.sig\n{DIGITS}  disk.qcow2\n",
    ],
)
def test_the_line_of_the_image_is_found(text: str) -> None:
    assert checksums.choose(text, "disk.qcow2", "SUMS") == f"sha256:{DIGITS}"


def test_the_stronger_checksum_is_taken() -> None:
    assert checksums.choose(f"{DIGITS}  d\n{DIGITS * 2}  d\n", "d", "SUMS") == f"sha512:{DIGITS * 2}"


@pytest.mark.parametrize(
    ("text", "error", "why"),
    [
        (f"{DIGITS}  other\n", NotFound, "it has no checksum of disk: it has other"),
        ("d41d8cd98f00b204e9800998ecf8427e  disk\n", NotFound, "no line of it is a SHA-256"),
        (f"{DIGITS}  disk\n{OTHER}  sub/disk\n", InvalidSpec, "several different lines"),
        ("", NotFound, "no line"),
        ("<html>not found</html>", NotFound, "no line"),
    ],
)
def test_without_a_line_of_the_image_it_is_said_what_there_is(text: str, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        checksums.choose(text, "disk", "SUMS")


@given(st.text())
def test_any_text_is_judged_without_an_error(text: str) -> None:
    for digest, _name in checksums.parse(text):
        assert len(digest) in (71, 135)


@pytest.mark.parametrize("form", ["{url}/SHA256SUMS", "sha256:{url}/SHA256SUMS", "{path}", "file://{path}"])
def test_a_checksum_is_read_from_where_it_is_named(web: Any, tmp_path: Path, soon: Deadline, form: str) -> None:
    text = f"{DIGITS}  a b.qcow2\n".encode()
    web.add("/SHA256SUMS", text)
    (tmp_path / "sums").write_bytes(text)
    named = form.format(url=f"http://{web.address}", path=tmp_path / "sums")
    image = checksums.resolved(ImageSource(f"http://{web.address}/x/a%20b.qcow2?token=1", named), soon)
    assert image.digest == f"sha256:{DIGITS}"


@pytest.mark.parametrize("named", ["http://{web}/none", "/none/sums"])
def test_a_missing_file_of_checksums_is_not_found(web: Any, soon: Deadline, named: str) -> None:
    with pytest.raises(NotFound):
        checksums.resolved(ImageSource("/disk", named.format(web=web.address)), soon)


def test_a_file_of_checksums_has_an_end(web: Any, soon: Deadline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "MOST_BYTES", 100)
    with pytest.raises(TransferFailed, match="at most 100"):
        checksums.resolved(ImageSource("/disk", web.add("/SUMS", b"x" * 101)), soon)


# --- directories and other caches


@pytest.mark.parametrize("remote", [True, False])
def test_an_image_is_found_in_a_directory_by_its_checksum(
    web: Any, cache: ImageCache, tmp_path: Path, qcow2_image: Path, sha256: Any, soon: Deadline, remote: bool
) -> None:
    place = tmp_path / "images"
    place.mkdir()
    shutil.copy(qcow2_image, place / "disk one.qcow2")
    sums = f"{sha256(qcow2_image)[7:]}  disk one.qcow2\n".encode()
    (place / "SHA256SUMS").write_bytes(sums)
    web.add("/images/SHA256SUMS", sums)
    web.add("/images/disk%20one.qcow2", qcow2_image.read_bytes())
    source = f"http://{web.address}/images/" if remote else f"{place}/"
    image = cache.ensure(ImageSource(source, sha256(qcow2_image), "qcow2"), soon)
    assert Path(image.path).read_bytes() == qcow2_image.read_bytes()


@pytest.mark.parametrize("remote", [True, False])
def test_another_cache_is_a_source(
    web: Any, cache: ImageCache, tmp_path: Path, clock: Clock, qcow2_image: Path, sha256: Any, soon: Deadline, remote: bool
) -> None:
    other = ImageCache(str(tmp_path / "other"), clock)
    there = other.ensure(ImageSource(str(qcow2_image), sha256(qcow2_image), "qcow2"), soon)
    name = os.path.relpath(there.path, tmp_path / "other")
    web.add(f"/cache/{name}", qcow2_image.read_bytes())
    source = f"http://{web.address}/cache/" if remote else f"file://{tmp_path}/other/"
    assert cache.ensure(ImageSource(source, sha256(qcow2_image), "qcow2"), soon).digest == sha256(qcow2_image)


@pytest.mark.parametrize("listed", ["../secret", "/etc/hostname", "a/../../secret"])
def test_names_in_a_directory_lead_nowhere_else(cache: ImageCache, tmp_path: Path, raw_image: Path, sha256: Any, soon: Deadline, listed: str) -> None:
    place = tmp_path / "images"
    place.mkdir()
    shutil.copy(raw_image, tmp_path / "secret")
    (place / "SHA256SUMS").write_text(f"{sha256(raw_image)[7:]}  {listed}\n")
    with pytest.raises(NotFound, match="neither as a cache has it"):
        cache.ensure(ImageSource(f"{place}/", sha256(raw_image), "raw"), soon)


def test_a_directory_needs_a_checksum() -> None:
    for source in ("/images/", "https://host/images/", "file:///images/", "https://host"):
        (problem,) = ImageSource(source).problems()
        assert "is a directory" in problem


# --- transfers that break off


@pytest.fixture(autouse=True)
def without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def body() -> bytes:
    return random.Random(5).randbytes(3 * MIB + 123)


def fetched(tmp_path: Path, url: str, deadline: Deadline, checksum: str | None = None) -> bytes:
    with open(tmp_path / "out", "wb", buffering=0) as stream:
        got = fetch(ImageSource(url, checksum, "raw"), stream.fileno(), str(tmp_path), deadline)
    data = (tmp_path / "out").read_bytes()
    assert got is not None
    assert (got.digest, got.size) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    return data


@pytest.mark.parametrize("every", [1, 100_000, MIB, 2 * MIB])
def test_a_broken_transfer_goes_on_where_it_broke(tmp_path: Path, soon: Deadline, body: bytes, every: int) -> None:
    with serving(Ranges(body, etag='"1"', breaks_after=max(every, 70_000))) as server:
        assert fetched(tmp_path, server.url, soon) == body
        assert server.sent <= len(body) + 1024
        assert [start for start in server.starts if start] == sorted(start for start in server.starts if start)
        assert len(server.starts) > 1


def test_it_goes_on_by_the_date_alone_and_by_a_checksum_alone(tmp_path: Path, soon: Deadline, body: bytes) -> None:
    with serving(Ranges(body, modified="Sat, 31 Jan 2026 12:00:00 GMT", breaks_after=MIB)) as server:
        assert fetched(tmp_path, server.url, soon) == body
    with serving(Ranges(body, breaks_after=MIB)) as server:
        assert fetched(tmp_path, server.url, soon, f"sha256:{hashlib.sha256(body).hexdigest()}") == body


def test_nothing_says_which_version_it_is_so_it_does_not_go_on(tmp_path: Path, soon: Deadline, body: bytes) -> None:
    for etag in ("", 'W/"1"'):
        with serving(Ranges(body, etag=etag, breaks_after=MIB)) as server:
            with pytest.raises(TransferFailed, match="ended after") as caught:
                fetched(tmp_path, server.url, soon)
            assert caught.value.transient
            assert len(server.starts) == 1


def test_a_server_without_ranges_sends_all_again(tmp_path: Path, soon: Deadline, body: bytes) -> None:
    with serving(Ranges(body, etag='"1"', breaks_after=MIB, breaks=1, ranges=False)) as server:
        assert fetched(tmp_path, server.url, soon) == body
    with serving(Ranges(body, etag='"1"', breaks_after=MIB, ranges=False)) as server:
        with pytest.raises(TransferFailed, match="cannot go on from there"):
            fetched(tmp_path, server.url, soon)
        assert len(server.starts) < 10


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changes_between_is_read_anew(tmp_path: Path, soon: Deadline, body: bytes, honest: bool) -> None:
    other = random.Random(6).randbytes(2 * MIB)
    with serving(Ranges(body, etag='"1"', breaks_after=MIB, breaks=1, then=(other, '"2"'), heeds_condition=honest)) as server:
        assert fetched(tmp_path, server.url, soon) == other


def test_a_file_that_changes_behind_a_checksum_is_refused(cache: ImageCache, soon: Deadline, body: bytes, files_below: Any) -> None:
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    other = bytes(len(body))
    with serving(Ranges(body, breaks_after=MIB, breaks=1, then=(other, ""))) as server, pytest.raises(ChecksumMismatch, match="nothing was kept"):
        cache.ensure(ImageSource(server.url, digest, "raw"), soon)
    assert files_below(Path(cache.root)) == []


@pytest.mark.parametrize("lie", ["bytes 5-{last}/{size}", "bytes {start}-{last}/*", "bytes {start}-{start}/{size}", "nonsense", ""])
def test_a_server_that_lies_about_ranges_is_not_believed(tmp_path: Path, soon: Deadline, body: bytes, lie: str) -> None:
    with serving(Ranges(body, etag='"1"', breaks_after=MIB, lie=lie)) as server:
        with pytest.raises(TransferFailed, match="answered with others") as caught:
            fetched(tmp_path, server.url, soon)
        assert not caught.value.transient


def test_a_server_that_breaks_at_once_each_time_is_given_up(tmp_path: Path, soon: Deadline, body: bytes) -> None:
    with serving(Ranges(body, etag='"1"', breaks_after=MIB, then_nothing=True)) as server:
        with pytest.raises(TransferFailed, match=r"ended after \d+ of"):
            fetched(tmp_path, server.url, soon)
        assert len(server.starts) == 5


def test_a_compressed_file_goes_on_too(cache: ImageCache, soon: Deadline, raw_image: Path) -> None:
    packed = PACKERS["xz"](raw_image.read_bytes())
    with serving(Ranges(packed, etag='"1"', breaks_after=500_000)) as server:
        image = cache.ensure(ImageSource(server.url, None, "raw", "xz"), soon)
    assert Path(image.path).read_bytes() == raw_image.read_bytes()


def test_measuring_tells_the_digest_and_keeps_nothing(tmp_path: Path, soon: Deadline, body: bytes) -> None:
    with serving(Ranges(body, etag='"1"', breaks_after=MIB)) as server:
        assert measure(ImageSource(server.url, None, "raw"), soon).digest == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert list(tmp_path.iterdir()) == []
