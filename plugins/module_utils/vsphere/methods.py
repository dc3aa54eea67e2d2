# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Names of methods and arguments, held against pyVmomi's own description of the API, and which methods only read."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from typing import Any

READS = frozenset(
    {
        "CheckCompatibility_Task",
        "CheckMigrate_Task",
        "CheckRelocate_Task",
        "ContinueRetrievePropertiesEx",
        "CreateImportSpec",
        "CurrentTime",
        "FetchUserPrivilegeOnEntities",
        "FindAllByDnsName",
        "FindAllByIp",
        "FindAllByUuid",
        "FindByDatastorePath",
        "FindByDnsName",
        "FindByInventoryPath",
        "FindByIp",
        "FindByUuid",
        "FindChild",
        "HttpNfcLeaseGetManifest",
        "ParseDescriptor",
        "PbmCheckCompatibility",
        "PbmQueryProfile",
        "PbmRetrieveContent",
        "PbmRetrieveServiceContent",
        "QueryDatastorePerformanceSummary",
        "QueryOptions",
        "QueryVirtualDiskUuid",
        "RecommendDatastores",
        "RetrievePropertiesEx",
        "RetrieveServiceContent",
        "SearchDatastoreSubFolders_Task",
        "SearchDatastore_Task",
        "WaitForUpdatesEx",
    }
)
"""The methods that change nothing, by their names in vSphere's documents: the only ones that are sent again after a lost answer
without being asked to. Any other is taken to change something."""


class UnknownMethod(AttributeError):
    """A method or an argument that the API does not have: a mistake in the program, found before anything is sent."""


@functools.cache
def _methods_of(kind: Any) -> Mapping[str, Any]:
    """Name in vSphere's documents -> pyVmomi's description, of a managed type and those it is derived from."""
    return {info.wsdlName: info for info in kind._GetMethodList()}


def method_info(obj: Any, method: str) -> Any:
    """:raises UnknownMethod: objects of this type have no such method."""
    kind: Any = type(obj)
    known = _methods_of(kind)
    if method not in known:
        near = difflib.get_close_matches(method, known, n=1)
        raise UnknownMethod(f"{type(obj).__name__} has no method {method}{f'; is it {near[0]}?' if near else ''}")
    return known[method]


def in_order(info: Any, arguments: Mapping[str, Any]) -> list[Any]:
    """The arguments as the method lists its parameters, None for one that is left out.

    :raises UnknownMethod: an argument that the method does not have.
    """
    names = [parameter.name for parameter in info.params]
    unknown = sorted(set(arguments) - set(names))
    if unknown:
        raise UnknownMethod(f"{info.wsdlName} takes no {', '.join(unknown)}; it takes {', '.join(names) or 'nothing'}")
    return [arguments.get(name) for name in names]
