# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What an image's own bytes say it is: the only file that uses oslo.utils' format inspector.

It is pure Python and reads at most what it needs, so it can look at a file before a tool that a crafted one could lead
elsewhere opens it.
"""

from __future__ import annotations

import importlib
import logging
import struct
from dataclasses import dataclass
from typing import IO, Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import MissingDependency

_MODULE = "oslo_utils.imageutils.format_inspector"
_READ = 4096
# What the parsers trip over in a forged file besides the errors they raise on purpose.
_TRIPS = (struct.error, ValueError, KeyError, IndexError, RuntimeError, OverflowError, ArithmeticError, AttributeError, TypeError)


@dataclass(frozen=True)
class Detected:
    """``formats``: every format the bytes match, sorted, ``("raw",)`` where none; ``violations``: check name -> why unsafe."""

    formats: tuple[str, ...]
    violations: tuple[tuple[str, str], ...] = ()


def detect(path: str) -> Detected:
    """Read a file just far enough to know which formats it matches, and check each for what reaches outside the file.

    :raises MissingDependency: oslo.utils is not there, or too old, or one that needs a library that is missing.
    """
    with open(path, "rb") as stream:
        return detect_in(stream)


def detect_in(stream: IO[bytes]) -> Detected:
    """The same of an open file, which is closed, or of a part of one.

    :raises MissingDependency: see ``detect``.
    """
    inspector = _inspector()
    wrapper = inspector.InspectWrapper(stream)
    try:
        while wrapper.read(_READ) and wrapper.formats is None:
            pass
    finally:
        wrapper.close()
    found = sorted(wrapper.formats, key=str)
    violations = [pair for one in found for pair in _violations(one, inspector)]
    return Detected(tuple(str(one) for one in found), tuple(violations))


def _violations(one: Any, inspector: Any) -> list[tuple[str, str]]:
    try:
        one.safety_check()
    except inspector.SafetyCheckFailed as exc:
        return sorted((str(name), str(why)) for name, why in exc.failures.items())
    except inspector.ImageFormatError as exc:
        return [("damaged", str(exc))]
    except _TRIPS as exc:
        return [("damaged", f"{type(exc).__name__} while it was read")]
    return []


def _inspector() -> Any:
    # The library logs each finding; ours are errors, and a module's standard error stays empty.
    logging.getLogger("oslo_utils").addHandler(logging.NullHandler())
    try:
        module = importlib.import_module(_MODULE)
    except ImportError as exc:
        raise _missing(f"cannot be imported ({exc})") from exc
    # LUKS and several formats at once are known since 7.4.
    if not hasattr(module.InspectWrapper, "formats"):
        raise _missing("is too old")
    return module


def _missing(why: str) -> MissingDependency:
    return MissingDependency(
        f"the Python library oslo.utils {why}, and no image is used uninspected",
        obj="oslo.utils",
        phase="inspect",
        hint="install 'oslo.utils >= 7.4, < 10.1' for the Python that runs the module on the target host",
    )
