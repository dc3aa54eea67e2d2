# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""libvirt's Python binding: the one file that imports it."""

from __future__ import annotations

import functools
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import MissingDependency

try:
    import libvirt
except ImportError:
    libvirt = None


@functools.cache
def library() -> Any:
    """The binding's module, its habit of printing every error to stderr turned off.

    :raises MissingDependency: it is not installed for the Python that runs this.
    """
    # A directory of this name on the path would be imported as an empty package.
    if libvirt is None or not hasattr(libvirt, "openAuth"):
        raise MissingDependency(
            "the Python binding of libvirt is not installed on the target host",
            obj="libvirt",
            hint="install the package python3-libvirt, or libvirt-python from PyPI into the Python that Ansible uses there",
        )
    libvirt.registerErrorHandler(_ignore, None)
    return libvirt


def _ignore(_context: object, _error: object) -> None:
    """Errors arrive as exceptions; nothing is to be printed besides."""
