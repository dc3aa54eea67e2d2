# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""UEFI's variables and what a TPM keeps go with the guest."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.tests.integration.migration.conftest import Pair

NAME = "m-1"
UEFI: dict[str, Any] = {"disks": [], "machine": "q35", "firmware": "efi"}
MARK = b"written by this guest's firmware"


def variables(pair: Pair, host: int) -> Path:
    return pair.folder / str(host) / "lib" / "qemu" / "nvram" / f"{NAME}_VARS.fd"


def tpm_state(pair: Pair, host: int) -> dict[str, bytes]:
    """What its TPM keeps; what there is of others counts too."""
    folder = pair.folder / str(host) / "lib" / "swtpm"
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.stat().st_size}


def marked(pair: Pair) -> None:
    """Off, with variables that are not those of the template; what is written lies where the firmware has no business."""
    pair.virsh(1, "destroy", NAME)
    with variables(pair, 1).open("r+b") as stream:
        stream.seek(-len(MARK), 2)
        stream.write(MARK)


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not done():
        assert time.monotonic() < deadline, "the firmware has not begun"
        time.sleep(0.2)


def test_live_both_travel(pair: Pair) -> None:
    pair.guest(1, name=NAME, tpm={"model": "tpm-crb"}, state="paused", **UEFI)
    marked(pair)
    pair.virsh(1, "start", NAME, "--paused")
    kept = tpm_state(pair, 1)
    before = variables(pair, 1).read_bytes()
    assert kept and before.endswith(MARK)
    # Paused, nothing is written by QEMU on the target; running, all of it is.
    assert "error" not in (told := pair.migrate(NAME)), told
    assert (variables(pair, 1).exists(), variables(pair, 2).read_bytes() == before) == (False, True)
    assert (tpm_state(pair, 1) == {}, tpm_state(pair, 2) == kept) == (True, True)
    pair.virsh(2, "resume", NAME)
    until(lambda: variables(pair, 2).read_bytes() != before and tpm_state(pair, 2) != kept)
    assert "error" not in (told := pair.migrate(NAME, origin=2)), told
    pair.virsh(1, "suspend", NAME)
    kept, before = tpm_state(pair, 1), variables(pair, 1).read_bytes()
    assert (before.endswith(MARK), tpm_state(pair, 2) == {}, variables(pair, 2).exists()) == (True, True, False)
    assert "error" not in (told := pair.migrate(NAME)), told
    assert (variables(pair, 2).read_bytes() == before, tpm_state(pair, 2) == kept) == (True, True)


def test_a_migration_that_fails_leaves_nothing_of_them_there(pair: Pair) -> None:
    pair.guest(1, name=NAME, tpm={"model": "tpm-crb"}, state="running", **UEFI)
    late = pair.migrate(NAME, bandwidth_mib=1, timeout=3.0)
    assert late["code"] == "deadline_exceeded", late
    assert pair.states(NAME) == ("running", "")
    assert (list(tpm_state(pair, 1)), list(tpm_state(pair, 2))) == (["tpm2-00.permall"], [])
    assert (variables(pair, 1).exists(), variables(pair, 2).exists()) == (True, False)


def test_cold_the_variables_travel_and_a_tpm_is_told_of(pair: Pair) -> None:
    pair.guest(1, name=NAME, state="paused", **UEFI)
    marked(pair)
    before = variables(pair, 1).read_bytes()
    assert "error" not in (told := pair.migrate(NAME)), told
    assert (pair.states(NAME), variables(pair, 1).exists(), variables(pair, 2).read_bytes() == before) == (("", "shut off"), False, True)
    pair.guest(2, name=NAME, tpm={"model": "tpm-crb"}, state="shutoff")
    refused = pair.migrate(NAME, origin=2)
    assert refused["code"] == "invalid_spec" and "its TPM keeps" in refused["error"] and "mode: live" in refused["error"], refused
    assert (pair.states(NAME), variables(pair, 1).exists()) == (("", "shut off"), False)
