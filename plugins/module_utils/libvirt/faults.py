# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""libvirt's error codes turned into typed errors: the only place that knows them.

Messages of libvirt are translated on hosts with another language, so codes decide, and ``errno`` where libvirt passes it on.
"""

from __future__ import annotations

import enum
import errno
import re
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    AuthenticationFailed,
    Busy,
    Cancelled,
    ConnectionFailed,
    DeadlineExceeded,
    InsufficientResources,
    NameTaken,
    NotFound,
    OperationFailed,
    VirtError,
)


class Unsupported(OperationFailed):
    """This libvirt, its driver or this QEMU cannot do what was asked."""

    code = "not_supported"
    config = True


class CpuIncompatible(Unsupported):
    """The host does not have the CPU; the message says what of it is missing."""


class DefinitionRefused(OperationFailed):
    """libvirt does not accept the XML or an argument."""

    code = "definition_refused"
    config = True


class InvalidState(OperationFailed):
    """The object is not in a state in which this can be done, such as a domain that stopped meanwhile: look again."""

    code = "invalid_state"
    transient = True


class UnsafeMigration(OperationFailed):
    """libvirt does not recognise a disk's storage as shared, or as safe with its cache mode."""

    code = "unsafe_migration"


class NoMetadata(NotFound):
    """The domain carries no metadata element of the namespace asked for."""


class Code(enum.IntEnum):
    """``virErrorNumber`` of libvirt's virterror.h, as far as it is told apart here."""

    INTERNAL_ERROR = 1
    NO_MEMORY = 2
    NO_SUPPORT = 3
    NO_CONNECT = 5
    INVALID_CONN = 6
    INVALID_ARG = 8
    OPERATION_FAILED = 9
    XML_ERROR = 27
    DOM_EXIST = 28
    OPERATION_DENIED = 29
    XML_DETAIL = 35
    SYSTEM_ERROR = 38
    RPC = 39
    NO_DOMAIN = 42
    NO_NETWORK = 43
    AUTH_FAILED = 45
    NO_STORAGE_POOL = 49
    NO_STORAGE_VOL = 50
    OPERATION_INVALID = 55
    CONFIG_UNSUPPORTED = 67
    OPERATION_TIMEOUT = 68
    OPERATION_ABORTED = 78
    ARGUMENT_UNSUPPORTED = 74
    NO_NODE_DEVICE = 53
    NO_SECRET = 66
    AUTH_CANCELLED = 79
    NO_DOMAIN_METADATA = 80
    MIGRATE_UNSAFE = 81
    OPERATION_UNSUPPORTED = 84
    AGENT_UNRESPONSIVE = 86
    RESOURCE_BUSY = 87
    ACCESS_DENIED = 88
    STORAGE_VOL_EXIST = 90
    CPU_INCOMPATIBLE = 91
    XML_INVALID_SCHEMA = 92
    AUTH_UNAVAILABLE = 94
    DEVICE_MISSING = 99


class Source(enum.IntEnum):
    """``virErrorDomain``, as far as it is told apart here."""

    RPC = 7
    REMOTE = 13


_BROKEN_CODES = frozenset({Code.SYSTEM_ERROR, Code.INTERNAL_ERROR, Code.RPC})
_BROKEN_SOURCES = frozenset({Source.RPC, Source.REMOTE})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM})

_TYPES: dict[int, type[VirtError]] = {
    Code.NO_MEMORY: InsufficientResources,
    Code.NO_SUPPORT: Unsupported,
    Code.NO_CONNECT: ConnectionFailed,
    Code.INVALID_CONN: ConnectionFailed,
    Code.INVALID_ARG: DefinitionRefused,
    Code.XML_ERROR: DefinitionRefused,
    Code.DOM_EXIST: NameTaken,
    Code.OPERATION_DENIED: AuthenticationFailed,
    Code.XML_DETAIL: DefinitionRefused,
    Code.NO_DOMAIN: NotFound,
    Code.NO_NETWORK: NotFound,
    Code.AUTH_FAILED: AuthenticationFailed,
    Code.NO_STORAGE_POOL: NotFound,
    Code.NO_STORAGE_VOL: NotFound,
    Code.OPERATION_INVALID: InvalidState,
    Code.CONFIG_UNSUPPORTED: Unsupported,
    Code.OPERATION_TIMEOUT: Busy,
    Code.ARGUMENT_UNSUPPORTED: Unsupported,
    Code.OPERATION_ABORTED: Cancelled,
    Code.AUTH_CANCELLED: AuthenticationFailed,
    Code.NO_DOMAIN_METADATA: NoMetadata,
    Code.MIGRATE_UNSAFE: UnsafeMigration,
    Code.OPERATION_UNSUPPORTED: Unsupported,
    Code.AGENT_UNRESPONSIVE: DeadlineExceeded,
    Code.RESOURCE_BUSY: Busy,
    Code.ACCESS_DENIED: AuthenticationFailed,
    Code.STORAGE_VOL_EXIST: Busy,
    Code.CPU_INCOMPATIBLE: CpuIncompatible,
    Code.XML_INVALID_SCHEMA: DefinitionRefused,
    Code.AUTH_UNAVAILABLE: AuthenticationFailed,
    Code.NO_NODE_DEVICE: NotFound,
    Code.NO_SECRET: NotFound,
    Code.DEVICE_MISSING: NotFound,
}

_HINTS: dict[type[VirtError], str] = {
    AuthenticationFailed: "run as root, or add the user to the group libvirt on the target host",
}

# QEMU's own words, which nobody translates, and libvirt's in English.
_WORDS_HINTS = {
    "Image was not closed correctly": "QEMU was killed while it wrote to the disk; with the guest off, run qemu-img check -r all -f parallels on it",
    "Image is corrupt": "with the guest off, run qemu-img check -r all on the disk",
    'Failed to get "': "another process has the disk open: shut the guest that uses it off, or make the disk shareable",
    "error connecting": "look whether the cluster answers (ceph -s), and give the keyring again: libvirt's secret may hold an old key",
    "error reading header from": "look whether the image is there (rbd info), and whether the user may read it (ceph auth get)",
    "Permission denied": "QEMU's user needs to get at it: x on each directory above, and what AppArmor or SELinux allow",
    "No such file or directory": "what the message names is gone from the host: bring it back, or make the disk again",
    "is not active": "start it: virsh net-start or virsh pool-start",
    "does not support virt type 'kvm'": "load the host's kvm module and see that processors are virtualised in hardware, or set virt_type: qemu",
    "Cannot allocate memory": "give the guest less memory, or shut another one off",
    "No space left on device": "free some space on the host's file system that the message names",
}
# An attribute of the XML that a message may quote.
_PASSWORD = re.compile(r"""(passwd\s*=\s*)(?:'[^']*'|"[^"]*")""")

_OPEN_HINTS: dict[int, str] = {
    errno.ENOENT: "start libvirtd (or virtqemud) on the target host, or correct the uri",
    errno.ECONNREFUSED: "start libvirtd (or virtqemud) on the target host, or correct the uri",
    errno.EACCES: "run as root, or add the user to the group libvirt on the target host",
    errno.EPERM: "run as root, or add the user to the group libvirt on the target host",
}


@dataclass(frozen=True)
class Fault:
    """What libvirt said: ``code`` and ``source`` as its headers number them, ``number`` the ``errno`` or -1."""

    code: int
    source: int
    message: str
    number: int = -1

    @classmethod
    def of(cls, exc: object) -> Fault:
        """Of a ``libvirtError``; one without details is an internal error of the binding."""
        details = getattr(exc, "err", None)
        if not details:
            return cls(Code.INTERNAL_ERROR, 0, _without_passwords(str(exc)))
        return cls(int(details[0]), int(details[1]), _without_passwords(str(details[2])), int(details[7]))

    @property
    def broken(self) -> bool:
        """Whether the connection, rather than the request, failed: a reply may have been lost."""
        return self.code in _BROKEN_CODES and self.source in _BROKEN_SOURCES

    def as_error(self, *, obj: str = "", phase: str = "") -> VirtError:
        kind = self._kind()
        hint = next((hint for words, hint in _WORDS_HINTS.items() if words in self.message), _HINTS.get(kind, ""))
        return kind(self.message, obj=obj, phase=phase, hint=hint)

    def as_open_error(self, uri: str) -> VirtError:
        """The connection could not be opened at all."""
        if self._kind() is AuthenticationFailed:
            return self.as_error(obj=uri, phase="connect")
        hint = _OPEN_HINTS.get(self.number, "correct the uri; on a KVM host it is qemu:///system")
        return ConnectionFailed(f"libvirt cannot be reached: {self.message}", obj=uri, phase="connect", hint=hint)

    def _kind(self) -> type[VirtError]:
        # QEMU's own words, which it does not translate, reach us in an internal error.
        if (self.code == Code.SYSTEM_ERROR and self.number in _FULL) or (self.code == Code.INTERNAL_ERROR and "Cannot allocate memory" in self.message):
            return InsufficientResources
        return _TYPES.get(self.code, OperationFailed)


def _without_passwords(said: str) -> str:
    return _PASSWORD.sub(r"\1'...'", said)
