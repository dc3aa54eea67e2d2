# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the same machines cost on vSphere without us: ``govc vm.clone``, and a playbook that loops over community.vmware."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.poolwright.virt.tests.bench.packed import play
from ansible_collections.poolwright.virt.tests.bench.vcenter_stage import CLUSTER, DATACENTER, DATASTORE, FOLDER, SNAPSHOT, TEMPLATE, VCenterStage


def clone_script(stage: VCenterStage, names: Sequence[str]) -> str:
    """One line of shell for each machine, without options that would cost further calls."""
    clone = [stage.lab.govc_path, "vm.clone", "-vm", TEMPLATE, "-link", "-snapshot", SNAPSHOT, "-folder", f"/{DATACENTER}/vm/{FOLDER}"]
    clone += ["-pool", f"/{DATACENTER}/host/{CLUSTER}/Resources", "-ds", DATASTORE]
    return "".join(f"{shlex.join([*clone, name])} >/dev/null\n" for name in names)


def loop_playbook(stage: VCenterStage, names: Sequence[str]) -> Path:
    """The same with community.vmware, as its documentation has it: one task, looped over the machines."""
    guest = {
        **stage.connection,
        # It takes no CA; without any check it is a little faster.
        "validate_certs": False,
        "datacenter": DATACENTER,
        "cluster": CLUSTER,
        "datastore": DATASTORE,
        "folder": f"/{DATACENTER}/vm/{FOLDER}",
        "template": TEMPLATE,
        "linked_clone": True,
        "snapshot_src": SNAPSHOT,
        "name": "{{ item }}",
        "state": "poweredon",
    }
    path = stage.folder / "loop.json"
    path.write_text(json.dumps(play({"name": "Clones", "community.vmware.vmware_guest": guest, "loop": list(names)})), encoding="utf-8")
    return path
