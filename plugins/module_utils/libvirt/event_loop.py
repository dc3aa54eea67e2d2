# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""libvirt's event loop: connections that are opened after it runs can tell that the other side has gone."""

from __future__ import annotations

import functools
import threading

from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.binding import library

KEEPALIVE = (5, 3)
"""Seconds between questions, unanswered ones until the connection counts as dead."""


@functools.cache
def run_event_loop() -> threading.Thread:
    """Once in a process, for as long as that lasts: libvirt's loop cannot be taken back."""
    lib = library()
    lib.virEventRegisterDefaultImpl()

    def run() -> None:
        while True:
            lib.virEventRunDefaultImpl()

    thread = threading.Thread(target=run, name="libvirt events", daemon=True)
    thread.start()
    return thread
