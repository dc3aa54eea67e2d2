# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""pyVmomi: the one file that imports it, and what is used of it.

Its types, its reader and its writer of SOAP are used; its connections, its sessions and its retries are not. So a managed
object here carries a ``Sealed`` stub: to read ``machine.config`` or to call ``machine.Clone()`` on it would be a call to the
server past the session, the retries and the count, and is refused.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import IO, Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import MissingDependency
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.endpoint import Secret

_WHY_NOT = ""
try:
    import pyVmomi
    from pyVmomi import SoapAdapter, VmomiSupport
except ImportError:
    pyVmomi = None
except Exception as exc:
    # 9.1 raises a bare Exception on a Python that is too old for it.
    pyVmomi, _WHY_NOT = None, f": {exc}"

API_VERSION = "vim25/7.0.0.0"
"""The version of the API that is spoken, whatever the server's own: every vCenter from 7.0 on understands it, and answers alike."""
POLICY_VERSION = "pbm/2.0"
"""The same for its service of storage policies."""

_PATH = "/sdk"
_POLICY_PATH = "/pbm/sdk"


@dataclass(frozen=True)
class Library:
    """``vim``, ``vmodl`` and ``pbm`` (storage policies) are pyVmomi's namespaces of types; the rest is for this file and ``session.py``."""

    vim: Any
    vmodl: Any
    pbm: Any
    support: Any
    adapter: Any
    version: str
    policy_version: str


@functools.cache
def library() -> Library:
    """:raises MissingDependency: it is not installed for the Python that runs this, or is too new for it."""
    # A directory of this name on the path would be imported as an empty package.
    if pyVmomi is None or not hasattr(pyVmomi, "vim"):
        raise MissingDependency(
            f"pyVmomi cannot be used{_WHY_NOT}" if _WHY_NOT else "pyVmomi, the Python binding of vSphere, is not installed where the module runs",
            obj="pyVmomi",
            hint="install pyvmomi from PyPI into the Python that runs the module (on Python 3.9: pyvmomi<9.1)",
        )
    versions = VmomiSupport.versionMap
    return Library(pyVmomi.vim, pyVmomi.vmodl, pyVmomi.pbm, VmomiSupport, SoapAdapter, versions[API_VERSION], versions[POLICY_VERSION])


class Sealed:
    """The stub of every managed object that comes from the server."""

    def __init__(self, version: str) -> None:
        self.version = version

    def SupportServerGUIDs(self) -> bool:  # pyVmomi's reader asks this
        return False

    def InvokeMethod(self, obj: Any, info: Any, _arguments: Any) -> Any:
        raise RuntimeError(f"use VIM.call(obj, {info.wsdlName!r}, ...): calls on {obj} itself have no session")

    def InvokeAccessor(self, obj: Any, info: Any) -> Any:
        raise RuntimeError(f"use VIM.get_properties(obj, [{info.name!r}]): reading it on {obj} itself has no session")


def reference(kind: str, moid: str) -> Any:
    """A managed object from the name of its type, such as ``VirtualMachine``, and its id, such as ``vm-42``."""
    return managed_type(kind)(moid, Sealed(library().version))


def policy_service() -> Any:
    """The object that vCenter's service of storage policies begins with, ``PbmServiceInstance``. Calls on it and on what comes from it go there."""
    lib = library()
    return lib.pbm.ServiceInstance("ServiceInstance", Sealed(lib.policy_version))


def path_of(obj: Any) -> str:
    """Where the service that a managed object belongs to is asked."""
    return _POLICY_PATH if _is_policy(obj) else _PATH


def soap_action_of(obj: Any) -> str:
    return f'"urn:{library().support.GetVersionNamespace(_version_of(obj))}"'


def managed_type(kind: str) -> Any:
    """The class of a managed type. :raises TypeError: there is none of this name."""
    lib = library()
    found = getattr(lib.vim, kind, None)
    if found is None or not isinstance(found, type) or not issubclass(found, lib.support.ManagedObject):
        raise TypeError(f"vSphere has no managed type {kind}")
    return found


def kind_of(obj: Any) -> str:
    """The name of a managed object's type as vSphere's documents have it, such as ``VirtualMachine``."""
    return str(type(obj)._wsdlName)


def moid_of(obj: Any) -> str:
    return str(obj._GetMoId())


@dataclass(frozen=True)
class _Writer:
    """What pyVmomi's writer wants to know beside the call itself."""

    version: str
    requestContext: dict[str, str] = field(repr=False)
    samlToken: str | None = field(repr=False)


def write_request(obj: Any, info: Any, arguments: list[Any], operation: str, token: Secret, cookie: Secret) -> bytes:
    """The SOAP envelope of one call; secrets among the arguments are opened here.

    :param token: a SAML assertion for the header; empty is none.
    :param cookie: the session's; the service of storage policies takes it in the header.
    :raises TypeError: an argument is of the wrong type, or a required one is missing.
    """
    lib = library()
    plain = [argument.reveal() if isinstance(argument, Secret) else argument for argument in arguments]
    for parameter, argument in zip(info.params, plain):
        lib.support.CheckField(parameter, argument)
    said = {"operationID": operation}
    if _is_policy(obj) and cookie:
        # vCenter puts it in quotes, and wants it without.
        said["vcSessionCookie"] = cookie.reveal().strip('"')
    writer = _Writer(_version_of(obj), said, token.reveal() or None)
    body: bytes = lib.adapter.SoapStubAdapterBase.SerializeRequest(writer, obj, info, plain)
    return body


def read_answer(answer: IO[bytes], obj: Any, info: Any) -> tuple[bool, Any]:
    """Whether the answer is a fault, and the fault or what the call on the object returned. Anything raised means that this is no SOAP answer."""
    reader = library().adapter.SoapResponseDeserializer(Sealed(_version_of(obj)))
    if _is_policy(obj):
        # It has faults of the other service, which pyVmomi would turn into what this version knows, without the fields that they come with.
        reader.deser.version = None
    found = reader.Deserialize(answer, info.result)
    return bool(reader.isFault), found


def _version_of(obj: Any) -> str:
    return str(obj._stub.version)


def _is_policy(obj: Any) -> bool:
    return _version_of(obj) == library().policy_version
