# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Typed errors. Everything below the modules raises these; a module turns them into ``fail_json`` in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class VirtError(Exception):
    """Something that went wrong, said so that a person can mend it.

    ``code`` is stable and machine-readable, ``phase`` says what was being done, ``obj`` to what, ``hint`` how to mend
    it. ``transient`` is true where the same call may succeed later; ``config`` where it cannot before the request or the
    host is changed, so that trying it for the next machine is pointless.
    """

    code = "error"
    transient = False
    config = False

    def __init__(self, message: str, *, obj: str = "", phase: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.obj = obj
        self.phase = phase
        self.hint = hint
        self.places: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = [*self.places, *([self.obj] if self.obj and self.obj not in self.places else [])]
        tail = f" ({self.hint})" if self.hint else ""
        return f"{': '.join([*where, self.message])}{tail}"

    def as_dict(self) -> dict[str, str]:
        """``name, phase, code, message, hint``: the shape of a failure in a module's result."""
        return {"name": self.obj, "phase": self.phase, "code": self.code, "message": self.message, "hint": self.hint}


@contextmanager
def telling_where(place: str) -> Iterator[None]:
    """Have errors from inside say in which part of the request their cause lies; the outermost place is told first."""
    try:
        yield
    except VirtError as exc:
        exc.places = (place, *exc.places)
        raise


class InvalidSpec(VirtError):
    """The request itself is wrong; ``problems`` holds every fault found, each with its place."""

    code = "invalid_spec"
    config = True

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems), phase="validate")
        self.problems = problems


class MissingDependency(VirtError):
    """A library or tool this needs is not installed."""

    code = "missing_dependency"
    config = True


class ConnectionFailed(VirtError):
    """The hypervisor cannot be reached, or the connection was lost and could not be opened again."""

    code = "connection_failed"
    transient = True


class AuthenticationFailed(VirtError):
    """The hypervisor refused the credentials, or wanted to ask a person for them."""

    code = "authentication_failed"
    config = True


class NotFound(VirtError):
    """A named thing (machine, network, image, pool) does not exist."""

    code = "not_found"
    config = True


class NameTaken(VirtError):
    """The hypervisor already has a machine of this name."""

    code = "name_taken"


class MarkChanged(VirtError):
    """Compare-and-set lost: the machine's mark is no longer the expected one."""

    code = "mark_changed"
    transient = True


class NotOurs(VirtError):
    """The machine carries no mark of this pool; it is never touched."""

    code = "not_ours"
    config = True


class IncompleteAnswer(VirtError):
    """A listing may be missing entries; acting on it would destroy or duplicate machines."""

    code = "incomplete_answer"
    transient = True


class MaybeApplied(VirtError):
    """The answer to a changing call was lost: look whether it was applied, never just send it again."""

    code = "maybe_applied"
    transient = True


class Busy(VirtError):
    """Another run or another job holds the object."""

    code = "busy"
    transient = True


class InsufficientResources(VirtError):
    """The host has too little memory, CPU or disk for the request."""

    code = "insufficient_resources"


class ImageRefused(VirtError):
    """The image is unsafe, damaged, not what it was said to be, or does not fit."""

    code = "image_refused"
    config = True


class ChecksumMismatch(ImageRefused):
    """The bytes received are not the ones the checksum names."""

    code = "checksum_mismatch"


class TransferFailed(VirtError):
    """An image could not be fetched."""

    code = "transfer_failed"
    transient = True


class ToolFailed(VirtError):
    """An external tool ended with an error: its own words are in the message, ``status`` is what it ended with."""

    code = "tool_failed"

    def __init__(self, message: str, *, status: int, obj: str = "", phase: str = "", hint: str = "") -> None:
        super().__init__(message, obj=obj, phase=phase, hint=hint)
        self.status = status


class DeadlineExceeded(VirtError):
    """Something waited for did not happen in time."""

    code = "deadline_exceeded"
    transient = True


class Cancelled(VirtError):
    """The run was told to stop (SIGTERM, SIGINT) before this was done."""

    code = "cancelled"


class OperationFailed(VirtError):
    """The hypervisor reported a failure that none of the other errors names."""

    code = "operation_failed"
