# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After a migration has ended somehow, one host has the guest, and what was noted says whose leftovers are whose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.migration.note import MadeImage, Note, from_element
from ansible_collections.poolwright.virt.plugins.module_utils.migration.sides import BY_MIGRATION, BY_POST_COPY, POST_COPY_FAILED, Side, Verdict, verdict

LIVE = Note("n-1", "live", "h-1", "h-2", "kvm2", "qemu+tcp://kvm2/system", "running")
COLD = replace(LIVE, kind="cold")
GONE = Side()


def side(state: str, note: Note | None = LIVE, reason: int = 0, *, job: bool = False) -> Side:
    return Side(state, reason, job, note)


@pytest.mark.parametrize(
    ("note", "source", "target", "expected"),
    [
        (LIVE, side("running"), GONE, Verdict.SOURCE),
        (LIVE, side("shutoff"), GONE, Verdict.SOURCE),
        (LIVE, side("running", job=True), side("paused", reason=BY_MIGRATION), Verdict.WAIT),
        (LIVE, GONE, side("running"), Verdict.TARGET),
        (LIVE, side("shutoff"), side("running"), Verdict.TARGET),
        (LIVE, GONE, side("paused"), Verdict.TARGET),
        (LIVE, GONE, side("shutoff"), Verdict.TARGET),
        # The answer to "it runs here" was lost: the target has been running it all the time.
        (LIVE, side("paused", reason=BY_MIGRATION), side("running"), Verdict.TARGET),
        (LIVE, side("running"), side("running"), Verdict.TARGET),
        # It waits for memory that never comes.
        (LIVE, side("running"), side("paused", reason=BY_MIGRATION), Verdict.SOURCE),
        (LIVE, side("paused", reason=BY_MIGRATION), side("paused", reason=BY_MIGRATION), Verdict.SOURCE),
        (LIVE, side("paused", reason=POST_COPY_FAILED), side("paused", reason=POST_COPY_FAILED), Verdict.RESUME),
        (LIVE, side("paused", reason=POST_COPY_FAILED, job=True), side("running"), Verdict.RESUME),
        (LIVE, side("paused", reason=BY_POST_COPY, job=True), side("running"), Verdict.WAIT),
        # What it had in memory, and its last disks, were there.
        (LIVE, side("paused", reason=POST_COPY_FAILED, job=True), GONE, Verdict.BROKEN),
        (LIVE, side("paused", reason=BY_POST_COPY), GONE, Verdict.BROKEN),
        (LIVE, side("paused", reason=POST_COPY_FAILED, job=True), side("shutoff"), Verdict.BROKEN),
        (LIVE, side("paused", reason=POST_COPY_FAILED), side("shutoff", None), Verdict.FOREIGN),
        (LIVE, side("running"), side("running", None), Verdict.FOREIGN),
        (LIVE, side("running"), side("running", replace(LIVE, id="n-2")), Verdict.FOREIGN),
        (LIVE, GONE, GONE, Verdict.LOST),
        (COLD, side("shutoff", COLD), GONE, Verdict.SOURCE),
        (COLD, side("shutoff", COLD), side("shutoff", COLD), Verdict.TARGET),
        (COLD, side("shutoff", COLD), side("running", COLD), Verdict.TARGET),
        (COLD, GONE, side("shutoff", COLD), Verdict.TARGET),
        (COLD, side("running", COLD), side("shutoff", COLD), Verdict.SOURCE),
    ],
)
def test_one_side_has_it(note: Note, source: Side, target: Side, expected: Verdict) -> None:
    assert verdict(note, source, target) is expected


def test_a_note_is_read_as_it_was_written() -> None:
    whole = replace(
        LIVE,
        autostart=True,
        undefine=False,
        made=("/d/a b.qcow2", "/d/<b>.raw"),
        directories=("/d",),
        images=(MadeImage("rbd", "web", conf="/etc/ceph.conf"),),
        gone=("/d/a",),
        secrets=("5f1e0000-0000-4000-8000-00000000000c",),
        machine="/m/web.1",
    )
    for note in (LIVE, COLD, whole):
        assert from_element(note.to_element(), "web") == note
    assert from_element(None, "web") is None


def test_a_damaged_note_is_an_error() -> None:
    element = LIVE.to_element()
    del element.attrib["target"]
    with pytest.raises(OperationFailed, match="virsh metadata web"):
        from_element(element, "web")
