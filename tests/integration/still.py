# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""An image for guests that run, and whose own work is not what a case is about: a boot takes some seconds of a processor."""

from __future__ import annotations

import subprocess
from pathlib import Path

SIZE = 48 * 1024**2  # as large as the tiny guest's
# cli; hlt; jmp -3: the processor stops, and does so again after what cannot be kept from it.
_SECTOR = b"\xfa\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa"


def still_image(folder: Path) -> Path:
    """A qcow2 image in ``folder``, made when it is first asked for: a boot sector that stops."""
    image = folder / "still.qcow2"
    if not image.exists():
        raw = folder / "still.raw"
        with raw.open("wb") as stream:
            stream.write(_SECTOR)
            stream.truncate(SIZE)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)], check=True)
        raw.unlink()
    return image
