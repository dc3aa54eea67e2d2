# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Bounds of disks, in bytes."""

from __future__ import annotations

SECTOR = 512
MAX_VIRTUAL_SIZE = 16 * 1024**4  # the largest file of ext4: a larger disk could not be filled anyway
# What a compressed file may become: zeros take no room, but a bomb of them takes hours.
MAX_UNPACKED_SIZE = 1024**4
