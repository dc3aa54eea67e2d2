# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""child.py LAB ADDRESS TASK: another process on a case's lab. Writes ``begun`` once the task is under way; then is killed or ends.

Tasks: ``hold`` keeps the pool ci to itself; ``crowd`` makes machines in the first free slots until ci-1 to ci-8 exist.
"""

from __future__ import annotations

import contextlib
import sys
import time

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NameTaken
from ansible_collections.poolwright.virt.tests.contract.labs.base import Lab
from ansible_collections.poolwright.virt.tests.contract.labs.registry import lab_class
from ansible_collections.poolwright.virt.tests.contract.staging import LONG, Stage

CROWD = 8


def hold(lab: Lab) -> None:
    provider = lab.provider([lab.template("ci")], Clock())
    with provider.exclusive(["ci"], Deadline.after(Clock(), LONG)):
        print("begun", flush=True)
        time.sleep(LONG)


def crowd(lab: Lab) -> None:
    stage = Stage(lab)
    print("begun", flush=True)
    for slot in range(1, CROWD + 1):
        with contextlib.suppress(NameTaken):
            stage.make(slot)


if __name__ == "__main__":
    _program, lab_name, address, task = sys.argv
    {"hold": hold, "crowd": crowd}[task](lab_class(lab_name).attach(address))
