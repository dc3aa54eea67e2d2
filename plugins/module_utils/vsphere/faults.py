# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""vSphere's faults turned into typed errors: the only place that knows them.

A fault's type decides; its text is in the language of the server. A type that has no error of its own counts as the nearest one
it is derived from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    AuthenticationFailed,
    Busy,
    Cancelled,
    DeadlineExceeded,
    InsufficientResources,
    MaybeApplied,
    NameTaken,
    NotFound,
    OperationFailed,
    VirtError,
)


class NotAuthenticated(AuthenticationFailed):
    """vCenter does not know the session: it ended, or it never was."""

    code = "not_authenticated"


class PermissionDenied(OperationFailed):
    """The account lacks a privilege; the message says which, and on what."""

    code = "permission_denied"
    config = True


class ObjectGone(NotFound):
    """A managed object that was there is not any more: it was removed, or registered anew under another id."""

    code = "object_gone"
    config = False


class FileMissing(NotFound):
    """A file or folder on a datastore does not exist."""

    code = "file_not_found"


class FileExists(OperationFailed):
    """A file or folder on a datastore is there already."""

    code = "file_exists"


class InvalidState(OperationFailed):
    """The object is not in a state in which this can be done, such as a machine that is off already."""

    code = "invalid_state"


class ConcurrentChange(Busy):
    """The object was changed by somebody else since it was read."""

    code = "concurrent_change"


class HostUnreachable(OperationFailed):
    """vCenter has lost an ESXi host."""

    code = "host_unreachable"
    transient = True


class ToolsUnavailable(OperationFailed):
    """The guest's VMware Tools do not run (yet)."""

    code = "tools_unavailable"
    transient = True


class Unsupported(OperationFailed):
    """This vCenter, its licence or its hosts cannot do what was asked."""

    code = "not_supported"
    config = True


class RequestRefused(OperationFailed):
    """vCenter does not accept an argument or a specification."""

    code = "request_refused"
    config = True


class AnswerLost(MaybeApplied):
    """The answer to a changing call was lost; ``operation`` is the id under which vCenter's logs and tasks have it."""

    def __init__(self, message: str, *, operation: str, obj: str = "", phase: str = "", hint: str = "") -> None:
        super().__init__(f"{message} (operation {operation})", obj=obj, phase=phase, hint=hint)
        self.operation = operation


_TYPES: dict[str, type[VirtError]] = {
    "AlreadyExists": NameTaken,
    "CannotAccessVmComponent": OperationFailed,
    "ConcurrentAccess": ConcurrentChange,
    "CustomizationFault": RequestRefused,
    "DisallowedOperationOnFailoverHost": Unsupported,
    "DuplicateName": NameTaken,
    "FileAlreadyExists": FileExists,
    "FileLocked": Busy,
    "FileNotFound": FileMissing,
    "HostCommunication": HostUnreachable,
    "HostConnectFault": HostUnreachable,
    "InsufficientResourcesFault": InsufficientResources,
    "InvalidArgument": RequestRefused,
    "InvalidDatastore": RequestRefused,
    "InvalidDatastorePath": RequestRefused,
    "InvalidDiskFormat": RequestRefused,
    "InvalidFolder": RequestRefused,
    "InvalidLogin": AuthenticationFailed,
    "InvalidName": RequestRefused,
    "InvalidProperty": RequestRefused,
    "InvalidRequest": RequestRefused,
    "InvalidState": InvalidState,
    "InvalidVmConfig": RequestRefused,
    "ManagedObjectNotFound": ObjectGone,
    "MethodDisabled": InvalidState,
    "MethodNotFound": Unsupported,
    "NoCompatibleHost": InsufficientResources,
    "NoDiskSpace": InsufficientResources,
    "NoPermission": PermissionDenied,
    "NotAuthenticated": NotAuthenticated,
    "NotEnoughLicenses": Unsupported,
    "NotFound": NotFound,
    "NotImplemented": Unsupported,
    "NotSupported": Unsupported,
    "OutOfBounds": RequestRefused,
    "PbmFaultNoPermission": PermissionDenied,
    "PbmFaultNotFound": NotFound,
    "RequestCanceled": Cancelled,
    "ResourceInUse": Busy,
    "RestrictedByAdministrator": Unsupported,
    "RestrictedVersion": Unsupported,
    "SecurityError": NotAuthenticated,
    "TaskInProgress": Busy,
    "Timedout": DeadlineExceeded,
    "ToolsUnavailable": ToolsUnavailable,
    "VAppNotRunning": InvalidState,
}

_HINTS: dict[str, str] = {
    "InvalidLogin": "correct username and password; nothing was tried again, so that the account is not locked",
    "NoPermission": "have the privilege granted to the account on that object or above it",
    "NotAuthenticated": "vCenter ended the session right after the login; see its limits for sessions",
    "NoDiskSpace": "free space on the datastore or name another one",
    "PbmFaultNoPermission": "have the privilege granted to the account on the vCenter itself; for storage policies it is StorageProfile.View",
    "RestrictedVersion": "the licence of the ESXi host does not allow changes through the API",
}

# Which of a fault's own fields are told, by its type: (field, how it is said).
_FIELDS: dict[str, tuple[tuple[str, str], ...]] = {
    "NoPermission": (("privilegeId", "privilege"), ("object", "on")),
    "DuplicateName": (("name", "name"), ("object", "is")),
    "AlreadyExists": (("name", "name"),),
    "InvalidArgument": (("invalidProperty", "argument"),),
    "InvalidProperty": (("name", "property"),),
    "InvalidVmConfig": (("property", "property"),),
    "ManagedObjectNotFound": (("obj", "object"),),
    "FileFault": (("file", "file"),),
    "NoDiskSpace": (("datastore", "datastore"),),
    "InvalidName": (("name", "name"),),
    "InvalidPowerState": (("requestedState", "wanted"), ("existingState", "is")),
    "ResourceInUse": (("name", "name"),),
    "TaskInProgress": (("task", "task"),),
    "InvalidDatastore": (("name", "datastore"),),
    "PbmFaultNoPermission": (("missingPrivileges", "privilege"),),
}


class VimFault(Exception):
    """The cause (``__cause__``) of an error that a fault became."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.name}: {fault.text()}")
        self.fault = fault


@dataclass(frozen=True)
class Fault:
    """What vCenter said.

    ``lineage`` is the fault's type and those it is derived from, nearest first; ``messages`` the texts of its chain, ``fields`` its own
    data (managed objects as they are), ``cause`` the fault behind it.
    """

    lineage: tuple[str, ...]
    message: str = ""
    messages: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    cause: Fault | None = None

    @classmethod
    def of(cls, fault: Any) -> Fault:
        """Of a fault as pyVmomi gives it, raised or as a task's ``info.error``."""
        lineage = tuple(str(vars(kind)["_wsdlName"]) for kind in type(fault).__mro__ if "_wsdlName" in vars(kind))
        messages = (str(entry.message or "") for entry in getattr(fault, "faultMessage", None) or ())
        behind = getattr(fault, "faultCause", None)
        told = [name for kind in lineage for name, _how in _FIELDS.get(kind, ())]
        # Not "in (None, "")": a managed object raises when it is compared with a string.
        fields = {name: getattr(fault, name, None) for name in told}
        return cls(
            lineage or (type(fault).__name__,),
            str(getattr(fault, "msg", None) or ""),
            tuple(message for message in messages if message),
            {name: value for name, value in fields.items() if value is not None and _shown(value)},
            None if behind is None or behind is fault else cls.of(behind),
        )

    @property
    def name(self) -> str:
        """The fault's type, as vSphere's documents name it."""
        return self.lineage[0]

    def chain(self) -> Iterator[Fault]:
        """The fault and those behind it."""
        link: Fault | None = self
        while link is not None:
            yield link
            link = link.cause

    def text(self) -> str:
        """All that was said, once each: the localized message, the fault's data, the chain of messages, and the same of its cause."""
        told: list[str] = []
        for link in self.chain():
            data = link._data()
            head = link.message or link.name
            for sentence in (f"{head} [{data}]" if data else head, *link.messages):
                plain = sentence.strip()
                if plain and not any(plain in earlier for earlier in told):
                    told.append(plain)
        return "; ".join(told)

    def as_error(self, *, obj: str = "", phase: str = "") -> VirtError:
        """The typed error, this fault its cause."""
        known = next((name for name in self.lineage if name in _TYPES), "")
        hint = next((_HINTS[name] for name in self.lineage if name in _HINTS), "")
        said = self.text()
        # A server may leave out the text, never the type.
        message = said if self.name in said else f"{said} ({self.name})"
        error = _TYPES.get(known, OperationFailed)(message, obj=obj, phase=phase, hint=hint)
        error.__cause__ = VimFault(self)
        return error

    def _data(self) -> str:
        how = {name: word for kind in self.lineage for name, word in _FIELDS.get(kind, ())}
        return ", ".join(f"{how[name]} {_shown(value)}" for name, value in self.fields.items())


def fault_behind(error: BaseException) -> Fault | None:
    """The fault that became this error, None where it was none."""
    cause = error.__cause__
    return cause.fault if isinstance(cause, VimFault) else None


def _shown(value: Any) -> str:
    if hasattr(value, "_GetMoId"):
        return f"{type(value)._wsdlName}:{value._GetMoId()}"
    if isinstance(value, list):
        # Of missing privileges, by what they are missing on.
        return ", ".join(dict.fromkeys(str(name) for one in value for name in one.privilegeIds or ()))
    return str(value)
