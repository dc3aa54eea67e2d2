# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever becomes of the guest, the probe answers in time, raises nothing and leaves no process behind."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.libvirt import kvm_probe


def children() -> list[str]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as listing:
        return listing.read().split()


def hangs(device: str) -> bool:
    time.sleep(60)
    return True


def raises(device: str) -> bool:
    raise OverflowError(device)


def dies(device: str) -> bool:
    os.kill(os.getpid(), signal.SIGKILL)
    return True


@pytest.mark.parametrize(("ends", "works"), [(True, True), (False, False)])
def test_the_answer_is_the_guests(monkeypatch: pytest.MonkeyPatch, ends: bool, works: bool) -> None:
    monkeypatch.setattr(kvm_probe, "_guest_runs", lambda device: ends)
    assert kvm_probe.kvm_works(device=os.devnull) is works


@pytest.mark.parametrize("guest", [hangs, raises, dies])
def test_a_guest_that_never_halts_is_no_guest(monkeypatch: pytest.MonkeyPatch, guest: object) -> None:
    before = children()
    monkeypatch.setattr(kvm_probe, "_guest_runs", guest)
    assert kvm_probe.kvm_works(timeout=0.2, device=os.devnull) is False
    assert children() == before


def test_without_the_device_there_is_no_kvm() -> None:
    assert kvm_probe.kvm_works(device="/nonexistent") is False


def test_another_device_is_no_kvm() -> None:
    assert kvm_probe.kvm_works(device=os.devnull) is False


def test_a_process_that_cannot_be_made_is_no_kvm(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "fork", refuse)
    assert kvm_probe.kvm_works(device=os.devnull) is False
    assert len(os.listdir("/proc/self/fd")) == len(before)
