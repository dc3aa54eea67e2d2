# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetching: typed errors, nothing secret in them, holes kept, memory flat."""

from __future__ import annotations

import base64
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    AuthenticationFailed,
    DeadlineExceeded,
    ImageRefused,
    InsufficientResources,
    NotFound,
    TransferFailed,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.images.fetch import Received, fetch
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import CHUNK, SparseWriter, copy_sparse
from ansible_collections.poolwright.virt.plugins.module_utils.images.web import Validators
from ansible_collections.poolwright.virt.tests.seeds import examples

MIB = 1024 * 1024


@pytest.fixture
def into(tmp_path: Path, soon: Deadline) -> Callable[..., Received | None]:
    """Fetch a source into ``tmp_path/out``."""

    def run(source: str, deadline: Deadline = soon, known: Validators | None = None) -> Received | None:
        with open(tmp_path / "out", "wb", buffering=0) as stream:
            return fetch(ImageSource(source), stream.fileno(), str(tmp_path), deadline, known=known)

    return run


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 77])
def test_a_page_arrives_whole_and_hashed(web: Any, into: Any, tmp_path: Path, sha256: Any, size: int) -> None:
    body = (os.urandom(70_000) + bytes(200_000)) * (size // 270_000 + 1)
    received = into(web.add("/disk", body[:size]))
    assert (tmp_path / "out").read_bytes() == body[:size]
    assert (received.digest, received.size) == (sha256(body[:size]), size)


@pytest.mark.parametrize("url", ["{path}", "file://{path}"])
def test_a_file_arrives_whole_and_hashed(into: Any, tmp_path: Path, raw_image: Path, sha256: Any, url: str) -> None:
    received = into(url.format(path=raw_image))
    assert received.digest == sha256(raw_image) == sha256(tmp_path / "out")


def test_zeros_become_holes(into: Any, tmp_path: Path, raw_image: Path) -> None:
    into(str(raw_image))
    assert os.stat(tmp_path / "out").st_blocks * 512 <= 3 * MIB + 64 * 1024


@pytest.mark.parametrize(
    ("status", "error", "transient"),
    [
        (404, NotFound, False),
        (410, NotFound, False),
        (401, AuthenticationFailed, False),
        (403, AuthenticationFailed, False),
        (400, TransferFailed, False),
        (429, TransferFailed, True),
        (500, TransferFailed, True),
        (503, TransferFailed, True),
    ],
)
def test_a_refusal_says_what_and_whether_to_try_again(web: Any, into: Any, status: int, error: type[VirtError], transient: bool) -> None:
    web.add("/disk", b"no", status=status)
    with pytest.raises(error) as caught:
        into(f"http://jane:hunter2@{web.address}/disk?token=s3cret")
    assert caught.value.transient is transient
    assert str(status) in str(caught.value)
    assert not {"hunter2", "s3cret"} & set(str(caught.value).replace("=", ":").split(":"))
    assert "s3cret" not in str(caught.value) and "hunter2" not in str(caught.value)


def test_user_and_password_of_a_url_are_sent(web: Any, into: Any) -> None:
    web.add("/disk", b"x")
    into(f"http://jane:hunter%402@{web.address}/disk")
    assert web.requests[0][2]["Authorization"] == "Basic " + base64.b64encode(b"jane:hunter@2").decode()


def test_they_do_not_follow_a_redirection(web: Any, into: Any) -> None:
    web.add("/disk", b"x")
    web.add("/moved", b"", status=302, headers={"Location": f"http://{web.address}/disk"})
    assert into(f"http://jane:hunter2@{web.address}/moved").size == 1
    assert "Authorization" not in web.requests[1][2]


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/disk", "file:///etc/passwd"])
def test_a_redirection_leads_to_the_web_only(web: Any, into: Any, tmp_path: Path, target: str) -> None:
    with pytest.raises(TransferFailed):
        into(web.add("/moved", b"", status=302, headers={"Location": target}))
    assert (tmp_path / "out").read_bytes() == b""


def test_a_connection_that_ends_early_is_told_and_transient(web: Any, into: Any) -> None:
    with pytest.raises(TransferFailed, match="ended after 1000 of 5000 bytes") as caught:
        into(web.add("/disk", b"x" * 1000, say_length=5000))
    assert caught.value.transient


def test_nobody_listening_is_transient(web: Any, into: Any) -> None:
    with pytest.raises(TransferFailed, match="refused") as caught:
        into("http://jane:hunter2@127.0.0.1:1/disk")
    assert caught.value.transient
    assert "hunter2" not in str(caught.value)


def test_a_stalled_server_meets_the_deadline(web: Any, into: Any, clock: Clock) -> None:
    url = web.add("/disk", b"x" * 10, stall_at=5)
    with pytest.raises((TransferFailed, DeadlineExceeded)):
        into(url, deadline=Deadline.after(clock, 0.2))


def test_a_trickling_server_meets_the_deadline(web: Any, into: Any) -> None:
    url = web.add("/disk", bytes(3 * CHUNK))
    with pytest.raises(DeadlineExceeded):
        into(url, deadline=_Elapsing(Clock(), 0.0))


class _Elapsing(Deadline):
    """Has time left for the connection, and none after the first chunk."""

    @property
    def remaining(self) -> float:
        return 5.0


def test_an_unchanged_version_is_not_sent_again(web: Any, into: Any) -> None:
    url = web.add("/disk", b"x", etag='"1"')
    validators = into(url).validators
    assert validators == Validators(etag='"1"')
    assert into(url, known=validators) is None
    assert into(url, known=Validators(etag='"0"')).size == 1


def test_an_image_that_cannot_fit_is_refused_before_a_byte_is_written(web: Any, into: Any, tmp_path: Path) -> None:
    with pytest.raises(InsufficientResources, match="are free"):
        into(web.add("/disk", b"x", say_length=2**60))
    assert (tmp_path / "out").stat().st_size == 0


def test_a_missing_file_is_not_found(into: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        into(str(tmp_path / "missing"))


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_only_regular_files_are_read(into: Any, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "odd"
    os.mkfifo(place) if kind == "fifo" else place.mkdir()
    with pytest.raises(ImageRefused, match="not a regular file"):
        into(str(place))


def test_a_file_that_changes_meanwhile_is_refused(into: Any, tmp_path: Path, clock: Clock) -> None:
    origin = tmp_path / "origin"
    origin.write_bytes(bytes(2 * CHUNK))

    class Writing(Deadline):
        def check(self, what: str, obj: str = "", phase: str = "", hint: str = "") -> None:
            origin.write_bytes(b"1" * 2 * CHUNK)

    with pytest.raises(TransferFailed, match="changed while it was read"):
        into(str(origin), deadline=Writing(clock, clock.monotonic() + 60))


def test_memory_stays_flat(web: Any, into: Any, tmp_path: Path) -> None:
    into(web.add("/small", bytes(1)))
    big = tmp_path / "big"
    with open(big, "wb") as stream:
        stream.truncate(512 * MIB)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    into(str(big))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024


@settings(max_examples=examples(40))
@given(runs=st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=12), odd=st.integers(0, 5000))
def test_any_pattern_of_holes_is_written_and_copied_exactly(tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[bool, int]], odd: int) -> None:
    data = b"".join((b"\x01" if full else b"\x00") * (count * 16 * 1024) for full, count in runs) + b"\x00" * odd
    place = tmp_path_factory.mktemp("sparse")
    with open(place / "a", "w+b", buffering=0) as one, open(place / "b", "w+b", buffering=0) as two:
        writer = SparseWriter(one.fileno())
        for start in range(0, len(data), CHUNK):
            part = data[start : start + CHUNK]
            writer.write(bytearray(part.ljust(CHUNK, b"\x02")), len(part))
        assert writer.finish() == len(data)
        copy_sparse(one.fileno(), two.fileno(), Deadline.after(Clock(), 60), "b")
    assert (place / "a").read_bytes() == data == (place / "b").read_bytes()
    assert os.stat(place / "b").st_blocks <= os.stat(place / "a").st_blocks + 8
