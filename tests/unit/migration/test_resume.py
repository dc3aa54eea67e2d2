# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A post-copy that libvirt does not take up. No real daemon is brought to that in a time that a test has."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline, InstantClock
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import InvalidState
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.migration import leftovers, resume
from ansible_collections.poolwright.virt.plugins.module_utils.migration.leftovers import Found
from ansible_collections.poolwright.virt.plugins.module_utils.migration.live import PostCopyBroken
from ansible_collections.poolwright.virt.plugins.module_utils.migration.note import Note
from ansible_collections.poolwright.virt.plugins.module_utils.migration.sides import POST_COPY_FAILED, Side
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import Wish

NOTE = Note(id="n-1", kind="live", source="a", target="b", where="kvm-2", uri="qemu+tls://kvm-2/system", state="running")


class StandingStill:
    """A guest, and the host it is on."""

    uri, name = "qemu:///system", "web-1"

    def __init__(self) -> None:
        self.aborted = 0

    def guest_of(self, uuid: str) -> StandingStill:
        return self

    def is_persistent(self) -> bool:
        return True

    def job(self) -> dict[str, Any]:
        return {"operation": 1}

    def state_and_reason(self) -> tuple[int, int]:
        return 3, POST_COPY_FAILED

    def abort_job(self) -> None:
        self.aborted += 1


def test_why_it_is_not_taken_up_is_told_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_arguments: object) -> None:
        raise InvalidState("it is being actively monitored by another thread")

    sides = iter([Side("paused", POST_COPY_FAILED, True, NOTE), Side("running", note=NOTE)])
    monkeypatch.setattr(leftovers, "look", lambda _host, uuid: Found(None, next(sides)))
    monkeypatch.setattr(resume, "flags_of", lambda _names: 0)
    monkeypatch.setattr(resume, "params_of", lambda _plan, _wish: {})
    monkeypatch.setattr(resume, "move", refuses)
    guest, clock = StandingStill(), InstantClock()
    began = clock.monotonic()
    with pytest.raises(PostCopyBroken, match=r"actively monitored.*virsh destroy web-1") as caught:
        resume.take_up(NOTE, cast(Host, guest), cast(Host, guest), "u-1", Wish("web-1"), threading.Event(), Deadline.after(clock, 3600))
    assert "kvm-2" in str(caught.value)
    # Within a minute or so of its standing still, whatever the run's own deadline; and no part of it is given up.
    assert clock.monotonic() - began < 3600 and guest.aborted == 0
