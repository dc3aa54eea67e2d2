# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""libvirtd that goes away in the middle of a run: what is there is looked at again, never guessed."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import ConnectionFailed, MaybeApplied, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.guests.run import GuestRun
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import Session
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.conftest import NAME, Lab


def wanted(lab: Lab) -> dict[str, Any]:
    return {"memory_mb": 64, "disks": [lab.blank("a"), lab.blank("b")], "title": "T", "autostart": True}


def killing_at(lab: Lab, monkeypatch: pytest.MonkeyPatch, api: str, *, back: bool) -> None:
    """The daemon dies while the call is on its way; ``back``: it is there again when the call is over."""
    plain, daemon = Session.call, lab.daemon
    assert daemon is not None

    def call(session: Session, name: str, action: Any, **more: Any) -> Any:
        if name != api:
            return plain(session, name, action, **more)
        monkeypatch.setattr(Session, "call", plain)

        cuts = iter([True])

        def cut(connection: Any) -> Any:
            if not next(cuts, False):
                return action(connection)
            daemon.kill()
            try:
                return action(connection)
            finally:
                if back:
                    daemon.start()

        return plain(session, name, cut, **more)

    monkeypatch.setattr(Session, "call", call)


@pytest.mark.parametrize("api", ["virDomainDefineXML", "virDomainSetAutostart", "virDomainCreateWithFlags"])
def test_a_change_whose_answer_was_lost_is_not_repeated_blindly_and_the_next_run_finishes(lab: Lab, monkeypatch: pytest.MonkeyPatch, api: str) -> None:
    killing_at(lab, monkeypatch, api, back=True)
    with pytest.raises(MaybeApplied):
        lab.run(**wanted(lab), state="running")
    done = lab.run(**wanted(lab), state="running")
    assert (done["state"], done["autostart"], done["pending_restart"]) == ("running", True, [])
    assert lab.run(**wanted(lab), state="running")["changed"] is False
    lab.run(state="absent")
    assert lab.files() == []


@pytest.mark.parametrize("api", ["virDomainGetXMLDesc", "virDomainGetState", "virDomainGetAutostart"])
def test_a_look_that_was_cut_is_taken_again(lab: Lab, monkeypatch: pytest.MonkeyPatch, api: str) -> None:
    lab.run(**wanted(lab))
    killing_at(lab, monkeypatch, api, back=True)
    assert lab.run(**wanted(lab))["changed"] is False


def test_a_daemon_that_stays_away_is_an_error_and_touches_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.run(**wanted(lab))
    files = lab.files()
    killing_at(lab, monkeypatch, "virDomainGetXMLDesc", back=False)
    assert lab.daemon is not None
    try:
        with pytest.raises(ConnectionFailed):
            lab.run(state="absent")
    finally:
        lab.daemon.start()
    assert (lab.files(), lab.daemon.virsh("list", "--all", "--name")) == (files, NAME)


def test_a_new_guest_that_cannot_be_taken_back_is_finished_by_the_next_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = GuestRun._make_disks

    def failing(run: GuestRun, guest: Any, plan: Any) -> Any:
        monkeypatch.setattr(GuestRun, "_make_disks", plain)
        assert lab.daemon is not None
        lab.daemon.kill()
        raise VirtError("no disk today")

    monkeypatch.setattr(GuestRun, "_make_disks", failing)
    assert lab.daemon is not None
    with pytest.raises(VirtError, match="no disk today"):
        lab.run(**wanted(lab))
    lab.daemon.start()
    assert lab.run(**wanted(lab))["changed"]
    assert lab.run(**wanted(lab))["changed"] is False
