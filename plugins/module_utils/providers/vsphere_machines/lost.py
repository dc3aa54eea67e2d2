# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What to do when the answer to the making of a machine was lost: the work may still go on in vCenter."""

from __future__ import annotations

from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.tasks import ended
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

ACCEPT_SECONDS = 0.5
"""What vCenter is given to make a task of a request that it has received."""

_STATE = "info.state"


def wait_until_settled(vim: VIM, entity: Any, deadline: Deadline, about: str) -> None:
    """Return when none of the tasks runs that a lost answer may have been about: then what it made is there, or nothing is.

    They are told by what they are done to, such as the template that is cloned; others' are waited for as well, since nothing tells
    them apart. How they end does not matter here.
    :raises DeadlineExceeded: one still runs at the deadline.
    """
    vim.clock.sleep(ACCEPT_SECONDS)
    tasks = vim.get_properties(entity, ["recentTask"], about=about, phase="create").get("recentTask") or ()
    found = vim.get_many(tasks, [_STATE], phase="create")
    for one in found:
        if not ended(one.properties):
            vim.wait_for_properties(one.obj, [_STATE], ended, deadline, about=about, phase="create")
