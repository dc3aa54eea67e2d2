# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An environment with what people use otherwise: community.libvirt and community.vmware, as the Ansible package brings them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.poolwright.virt.tests.bench.children import Ended
from ansible_collections.poolwright.virt.tests.bench.figures import must
from ansible_collections.poolwright.virt.tests.bench.packed import nothing, playbook
from ansible_collections.poolwright.virt.tests.bench.places import ROOT
from ansible_collections.poolwright.virt.tests.bench.ways import timed

NOTHING = "nothing but a ping, `ansible-playbook` of the peer's environment"


@dataclass(frozen=True)
class Peer:
    """``programs`` is the folder of the environment's programs."""

    programs: Path

    def playbook(self, path: Path) -> Ended:
        return playbook(path, python=str(self.programs / "python"), ansible=self.programs)

    def nothing(self, folder: Path) -> Callable[[], float]:
        """Its own time, as a contender."""
        empty = nothing(folder)
        return timed(lambda: self.playbook(empty))


def prepare() -> Peer:
    """:raises Wrong: the environment is not there and could not be made."""
    made = subprocess.run(
        [str(ROOT / "tests" / "setup" / "venv.sh"), "peer", "controller"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )
    must(made.returncode == 0, "the environment with community.libvirt and community.vmware could not be made")
    return Peer(Path(made.stdout.strip()) / "bin")
