# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where measurements work. All of it is theirs alone and is removed at the end, the results excepted."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".work"
BENCH = WORK / "bench"
RESULTS = BENCH / "results.json"
TINY = WORK / "lab" / "tiny.qcow2"
# Guests' disks: a place that QEMU's own user may look into, as a checkout below somebody's home may not be.
LIBVIRT = Path("/var/lib/poolwright-bench")
# Every domain that a measurement makes begins so.
PREFIX = "pwbench-"
