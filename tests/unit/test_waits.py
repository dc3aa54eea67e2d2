# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documentation says of waiting for a run that was killed is the same everywhere, and what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.pool.condition import MAKING_SECONDS
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines import base_mark
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import claim, upkeep
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states import temporary

ROOT = Path(__file__).parents[2]
HOUR = 3600.0


def words(name: str) -> str:
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


@pytest.mark.parametrize("name", ["README.md", "docs/pools.md", "docs/vsphere.md"])
def test_one_statement_stands_everywhere(name: str) -> None:
    assert (
        "On KVM hosts, and on vSphere from the same controller, the next run takes over at once; on vSphere, another controller leaves a half-made machine"
        f" of a pool alone for {MAKING_SECONDS:.0f} seconds after its making or reset began"
    ) in words(name)


def test_the_table_of_bounds_has_what_the_code_has() -> None:
    table = words("docs/pools.md")
    assert f"| {MAKING_SECONDS:.0f} s after that began" in table
    assert f"its claim has not changed for {claim.DEAD_SECONDS:.0f} s" in table
    assert base_mark.ABANDONED_SECONDS == temporary.FOREIGN_SECONDS == HOUR
    assert "half-made base machines and unfinished files on datastores after an hour" in table
    assert upkeep.ABANDONED_SECONDS == 24 * HOUR
    assert "what is half-made in an image cache after a day" in table
