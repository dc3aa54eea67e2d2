# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bytes to and from the lab's vCenter, over ways that break."""

from __future__ import annotations

import hashlib
import io
import os
import random
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils import errors
from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileMissing, NotAuthenticated
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer, Transferred
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.contract.staging import LONG
from ansible_collections.poolwright.virt.tests.integration.vsphere.datastores.staging import QuickClock, names, on_disk, put
from ansible_collections.poolwright.virt.tests.integration.vsphere.datastores.test_files import ODD_NAMES
from ansible_collections.poolwright.virt.tests.integration.vsphere.staging import Way, together

CONTENT = random.Random(4).randbytes(5_000_011)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
WHOLE = Transferred(len(CONTENT), DIGEST)


class EndingStats(Stats):
    """Has every session end just before a file is transferred."""

    def __init__(self, clock: Clock, vcenter: VCenter) -> None:
        super().__init__(clock)
        self._vcenter = vcenter

    def call(self, name: str) -> int:
        self._vcenter.expire_sessions()
        return super().call(name)


class Ending(io.BytesIO):
    """Ends too early, but not before the vCenter has begun the file: one that it began after the removal would stay."""

    def __init__(self, content: bytes, arriving: Path) -> None:
        super().__init__(content)
        self._arriving = arriving

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        if not block:
            until_begun(self._arriving)
        return block


def until_begun(arriving: Path) -> None:
    deadline = Deadline.after(Clock(), LONG)
    while not arriving.exists():
        assert not deadline.passed, f"the vCenter has not begun {arriving}"
        time.sleep(0.01)


@pytest.fixture
def transfer(site: Site, stats: Stats) -> Transfer:
    return Transfer(site, stats=stats)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    made = tmp_path / "local"
    made.write_bytes(CONTENT)
    return made


def test_a_file_arrives_whole_and_its_hash_with_it(transfer: Transfer, site: Site, folder: DatastorePath, local: Path, deadline: Deadline) -> None:
    told: list[tuple[int, int]] = []
    sent = transfer.upload(folder.join("x"), local, deadline, on_progress=lambda done, total: told.append((done, total)))
    assert sent == WHOLE
    assert on_disk(site, folder.join("x")).read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _total in told] == sorted(done for done, _total in told)


# The lab's vCenter refuses every URL with two dots in a row.
@pytest.mark.parametrize("name", [name for name in ODD_NAMES if ".." not in name])
def test_a_name_comes_through_the_url_as_it_is(transfer: Transfer, site: Site, folder: DatastorePath, deadline: Deadline, name: str, tmp_path: Path) -> None:
    path = folder.join(name, f"in {name}")
    on_disk(site, path).parent.mkdir()
    transfer.upload(path, io.BytesIO(b"content"), deadline)
    assert names(site, folder, deadline) == [name, f"{name}/in {name}"]
    assert transfer.read(path, deadline) == b"content"
    transfer.download(path, tmp_path / "back", deadline)
    assert (tmp_path / "back").read_bytes() == b"content"


def test_a_hash_that_is_known_is_not_made_again(transfer: Transfer, site: Site, folder: DatastorePath, local: Path, deadline: Deadline) -> None:
    assert transfer.upload(folder.join("x"), local, deadline, sha256=DIGEST) == WHOLE
    assert on_disk(site, folder.join("x")).read_bytes() == CONTENT
    with pytest.raises(errors.TransferFailed, match="what arrived has the SHA-256"):
        transfer.upload(folder.join("x"), local, deadline, sha256="0" * 64, read_back=True)
    assert names(site, folder, deadline) == []


def test_an_empty_file_is_a_file(transfer: Transfer, folder: DatastorePath, deadline: Deadline, tmp_path: Path) -> None:
    empty = Transferred(0, hashlib.sha256().hexdigest())
    assert transfer.upload(folder.join("x"), io.BytesIO(), deadline, read_back=True) == empty
    assert transfer.download(folder.join("x"), tmp_path / "x", deadline) == empty
    assert transfer.read(folder.join("x"), deadline) == b""


def test_a_stream_is_sent_from_where_it_stands(transfer: Transfer, folder: DatastorePath, deadline: Deadline) -> None:
    stream = io.BytesIO(b"headcontent")
    stream.seek(4)
    transfer.upload(folder.join("x"), stream, deadline)
    assert transfer.read(folder.join("x"), deadline) == b"content"


def test_a_stream_that_cannot_seek_needs_a_size_and_is_sent_once(transfer: Transfer, folder: DatastorePath, deadline: Deadline, vcenter: VCenter) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"content")
    os.close(writing)
    with open(reading, "rb", buffering=0) as stream:
        with pytest.raises(ValueError, match="size"):
            transfer.upload(folder.join("x"), stream, deadline)
        vcenter.chaos("PUT /folder", "drop-before", times=1)
        with pytest.raises(errors.TransferFailed, match="1 attempt"):
            transfer.upload(folder.join("x"), stream, deadline, size=7)
    assert vcenter.calls()["PUT /folder"] == 1


@pytest.mark.parametrize("loss", ["drop-before", "drop-after", "unavailable", "truncated"])
def test_a_broken_upload_is_started_over(
    transfer: Transfer, site: Site, folder: DatastorePath, local: Path, deadline: Deadline, vcenter: VCenter, loss: str
) -> None:
    vcenter.chaos("PUT /folder", loss, times=2)
    assert transfer.upload(folder.join("x"), local, deadline) == WHOLE
    assert on_disk(site, folder.join("x")).read_bytes() == CONTENT
    assert vcenter.calls()["PUT /folder"] in (1, 3)  # what was cut off of an empty answer was none of it


@pytest.mark.parametrize("loss", ["drop-before", "drop-after", "unavailable"])
def test_an_upload_that_breaks_again_and_again_ends_and_leaves_nothing(
    transfer: Transfer, site: Site, folder: DatastorePath, local: Path, deadline: Deadline, vcenter: VCenter, loss: str
) -> None:
    vcenter.chaos("PUT /folder", loss)
    with pytest.raises(errors.TransferFailed, match="given up after 3 attempts"):
        transfer.upload(folder.join("x"), local, deadline)
    vcenter.calm()
    assert vcenter.calls()["PUT /folder"] == 3
    assert names(site, folder, deadline) == []


def test_a_full_datastore_is_told_and_not_tried_again(transfer: Transfer, folder: DatastorePath, local: Path, deadline: Deadline, vcenter: VCenter) -> None:
    vcenter.chaos("PUT /folder", "full")
    with pytest.raises(errors.InsufficientResources, match="the datastore is full"):
        transfer.upload(folder.join("x"), local, deadline)
    assert vcenter.calls()["PUT /folder"] == 1


def test_what_was_turned_down_has_left_what_is_there(
    transfer: Transfer, site: Site, folder: DatastorePath, local: Path, deadline: Deadline, vcenter: VCenter
) -> None:
    path = put(site, folder.join("x"), b"before")
    vcenter.chaos("PUT /folder", "not-found")
    with pytest.raises(FileMissing):
        transfer.upload(path, local, deadline)
    assert on_disk(site, path).read_bytes() == b"before"


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_a_session_that_ended_is_renewed_once(
    transfer: Transfer, site: Site, folder: DatastorePath, local: Path, deadline: Deadline, vcenter: VCenter, stats: Stats, method: str
) -> None:
    path = put(site, folder.join("x"), CONTENT)
    vcenter.expire_sessions()
    assert (transfer.upload(path, local, deadline) if method == "PUT" else transfer.hash(path, deadline)) == WHOLE
    assert stats.as_dict()["logins"] == 2
    assert vcenter.calls()[f"{method} /folder"] == 2


def test_a_session_that_is_not_taken_is_not_renewed_for_ever(site: Site, folder: DatastorePath, local: Path, deadline: Deadline, vcenter: VCenter) -> None:
    stats = EndingStats(site.clock, vcenter)
    with pytest.raises(NotAuthenticated) as caught:
        Transfer(site, stats=stats).upload(folder.join("x"), local, deadline)
    assert vcenter.calls()["PUT /folder"] == 2
    assert str(site.vim.transport.cookie_header()["Cookie"]).partition("=")[2] not in str(caught.value)


def test_a_source_that_shrinks_while_it_is_sent_is_no_file(transfer: Transfer, site: Site, folder: DatastorePath, deadline: Deadline) -> None:
    with pytest.raises(errors.TransferFailed, match="the source ended after 3 of 4 bytes"):
        transfer.upload(folder.join("x"), Ending(b"123", on_disk(site, folder.join("x"))), deadline, size=4)
    assert names(site, folder, deadline) == []


def test_a_source_that_is_not_there_is_told_before_anything_is_sent(
    transfer: Transfer, folder: DatastorePath, deadline: Deadline, tmp_path: Path, vcenter: VCenter
) -> None:
    with pytest.raises(errors.TransferFailed, match="cannot be read"):
        transfer.upload(folder.join("x"), tmp_path / "missing", deadline)
    assert vcenter.calls()["PUT /folder"] == 0


def test_an_upload_that_is_to_stop_stops_and_leaves_nothing(site: Site, folder: DatastorePath, local: Path, deadline: Deadline) -> None:
    cancel, path = threading.Event(), folder.join("x")

    def stop(_done: int, _total: int) -> None:
        until_begun(on_disk(site, path))
        cancel.set()

    with pytest.raises(errors.Cancelled):
        Transfer(site, cancel=cancel).upload(path, local, deadline, on_progress=stop)
    assert names(site, folder, deadline) == []


def test_a_transfer_ends_with_its_deadline(site: Site, folder: DatastorePath, local: Path, transfer: Transfer) -> None:
    deadline = Deadline.after(site.clock, 0.0)
    with pytest.raises(errors.DeadlineExceeded):
        transfer.upload(folder.join("x"), local, deadline)


def test_what_arrived_is_read_back_where_that_is_asked_for(
    transfer: Transfer, folder: DatastorePath, local: Path, deadline: Deadline, vcenter: VCenter
) -> None:
    assert transfer.upload(folder.join("x"), local, deadline, read_back=True) == WHOLE
    assert vcenter.calls()["GET /folder"] == 1


def test_a_download_goes_on_where_it_broke_off(
    vcenter: VCenter, clock: QuickClock, stats: Stats, folder: DatastorePath, site: Site, deadline: Deadline, tmp_path: Path
) -> None:
    # More than what is on its way in the buffers between the two.
    content = CONTENT * 12
    path = put(site, folder.join("x"), content)
    way = Way((vcenter.host, vcenter.port))
    way.open()
    broken: list[int] = []

    def cut(done: int, _total: int) -> None:
        if done > 2_000_000 and not broken:
            broken.append(done)
            way.close()
            way.open()

    with vcenter.vim(clock=clock, stats=stats, host=way.host, port=way.port) as vim:
        got = Transfer(Site(vim, Inventory(vim, "DC0")), stats=stats).download(path, tmp_path / "x", deadline, on_progress=cut)
    way.close()
    assert got == Transferred(len(content), hashlib.sha256(content).hexdigest())
    assert (tmp_path / "x").read_bytes() == content
    assert stats.as_dict()["calls"]["GET /folder"] == 2
    assert os.listdir(tmp_path) == ["x"]


def test_an_upload_over_a_way_that_breaks_is_started_over(
    vcenter: VCenter, clock: QuickClock, stats: Stats, folder: DatastorePath, site: Site, deadline: Deadline, local: Path
) -> None:
    way = Way((vcenter.host, vcenter.port))
    way.open()
    broken: list[int] = []

    def cut(done: int, _total: int) -> None:
        if done > 2_000_000 and not broken:
            broken.append(done)
            way.close()
            way.open()

    with vcenter.vim(clock=clock, stats=stats, host=way.host, port=way.port) as vim:
        sent = Transfer(Site(vim, Inventory(vim, "DC0")), stats=stats).upload(folder.join("x"), local, deadline, on_progress=cut)
    way.close()
    assert sent == WHOLE
    assert on_disk(site, folder.join("x")).read_bytes() == CONTENT


@pytest.mark.parametrize("loss", ["drop-before", "drop-after", "unavailable", "truncated"])
def test_what_is_read_is_read_to_its_end_or_again(
    transfer: Transfer, site: Site, folder: DatastorePath, deadline: Deadline, vcenter: VCenter, tmp_path: Path, loss: str
) -> None:
    path = put(site, folder.join("x"), CONTENT)
    for act in (
        lambda: transfer.hash(path, deadline).sha256,
        lambda: hashlib.sha256(transfer.read(path, deadline)).hexdigest(),
        lambda: transfer.download(path, tmp_path / "x", deadline).sha256,
    ):
        vcenter.calm()
        vcenter.chaos("GET /folder", loss, times=2)
        assert act() == DIGEST
    vcenter.calm()
    vcenter.chaos("GET /folder", loss, times=2)
    assert transfer.beginning(path, deadline, 64) == CONTENT[:64]


def test_a_further_run_goes_on_with_a_download_of_an_earlier_one(
    site: Site, folder: DatastorePath, deadline: Deadline, tmp_path: Path, vcenter: VCenter
) -> None:
    path = put(site, folder.join("x"), CONTENT)
    cancel = threading.Event()
    with pytest.raises(errors.Cancelled):
        Transfer(site, cancel=cancel).download(path, tmp_path / "x", deadline, on_progress=lambda done, _total: cancel.set() if done > 2_000_000 else None)
    assert not (tmp_path / "x").exists()
    got = Transfer(site).download(path, tmp_path / "x", deadline, sha256=DIGEST, mode=0o600)
    assert got.resumed > 2_000_000
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["x"]


def test_a_file_that_changed_is_fetched_from_its_start(site: Site, folder: DatastorePath, deadline: Deadline, tmp_path: Path) -> None:
    path = put(site, folder.join("x"), b"?" * len(CONTENT))
    cancel = threading.Event()
    with pytest.raises(errors.Cancelled):
        Transfer(site, cancel=cancel).download(path, tmp_path / "x", deadline, on_progress=lambda done, _total: cancel.set() if done > 2_000_000 else None)
    put(site, path, CONTENT)
    os.utime(on_disk(site, path), (1, 1))
    assert Transfer(site).download(path, tmp_path / "x", deadline) == WHOLE
    assert os.listdir(tmp_path) == ["x"]


def test_what_is_not_the_expected_file_is_not_put_in_place(transfer: Transfer, site: Site, folder: DatastorePath, deadline: Deadline, tmp_path: Path) -> None:
    path = put(site, folder.join("x"), b"another")
    (tmp_path / "x").write_bytes(b"before")
    with pytest.raises(errors.ChecksumMismatch):
        transfer.download(path, tmp_path / "x", deadline, sha256=DIGEST)
    assert (tmp_path / "x").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["x"]


def test_a_file_is_fetched_to_one_place_by_one_at_a_time(site: Site, folder: DatastorePath, deadline: Deadline, tmp_path: Path) -> None:
    path = put(site, folder.join("x"), CONTENT)
    outcomes = together(3, lambda _number: Transfer(site).download(path, tmp_path / "x", deadline))
    assert all(isinstance(outcome, errors.Busy) or outcome == WHOLE for outcome in outcomes)
    assert WHOLE in outcomes
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_file_that_is_not_there_is_told(transfer: Transfer, folder: DatastorePath, deadline: Deadline, tmp_path: Path) -> None:
    for act in (lambda: transfer.read(folder.join("x"), deadline), lambda: transfer.download(folder.join("x"), tmp_path / "x", deadline)):
        with pytest.raises(FileMissing):
            act()
    with pytest.raises(FileMissing, match="folder"):
        transfer.download(folder, tmp_path / "x", deadline)


def test_only_small_files_are_read_whole(transfer: Transfer, site: Site, folder: DatastorePath, deadline: Deadline) -> None:
    path = put(site, folder.join("x"), b"12345")
    assert transfer.read(path, deadline, limit=5) == b"12345"
    assert transfer.beginning(path, deadline, 2) == b"12"
    with pytest.raises(errors.TransferFailed, match="larger than 4 bytes"):
        transfer.read(path, deadline, limit=4)


def test_a_disk_on_this_side_that_fails_is_no_broken_connection(
    transfer: Transfer, site: Site, folder: DatastorePath, deadline: Deadline, tmp_path: Path, vcenter: VCenter
) -> None:
    path = put(site, folder.join("x"), CONTENT)
    with pytest.raises(errors.TransferFailed, match="on this side"):
        transfer.download(path, tmp_path / "missing" / "x", deadline)
    assert vcenter.calls()["GET /folder"] == 0
