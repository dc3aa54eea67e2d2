# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The options of ``libvirt_migrate``, as ``AnsibleModule`` takes them; the module documents them under the same names."""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]


def module_options() -> Spec:
    return {
        "uri": {"type": "str", "default": "qemu:///system"},
        "location": {"type": "path"},
        "name": {"type": "str"},
        "names": {"type": "list", "elements": "str"},
        "target": {"type": "str", "required": True},
        "transport": {"type": "str", "choices": ["tcp", "tls", "ssh"]},
        "migrate_uri": {"type": "str"},
        "mode": {"type": "str", "choices": ["auto", "live", "cold"], "default": "auto"},
        "storage": {"type": "str", "choices": ["auto", "shared", "copy"], "default": "auto"},
        "copy_disks": {"type": "list", "elements": "str"},
        "disks": {"type": "list", "elements": "dict", "default": [], "options": _disk_options()},
        "keep_source_disks": {"type": "bool", "default": False},
        "undefine_source": {"type": "bool", "default": True},
        "persist": {"type": "bool", "default": True},
        "bandwidth_mib": {"type": "int"},
        "auto_converge": {"type": "bool", "default": False},
        "compress": {"type": "bool", "default": False},
        "post_copy": {"type": "bool", "default": False},
        "post_copy_after": {"type": "float", "default": 60},
        "max_downtime_ms": {"type": "int"},
        "timeout": {"type": "float", "default": 600},
        "on_timeout": {"type": "str", "choices": ["abort", "postcopy", "pause"], "default": "abort"},
        "shutdown_timeout": {"type": "float", "default": 60},
        "force": {"type": "bool", "default": False},
    }


def module_rules() -> Spec:
    """What goes with what, as ``AnsibleModule`` takes it."""
    return {"required_one_of": [["name", "names"]], "mutually_exclusive": [["name", "names"]]}


def _disk_options() -> Spec:
    return {
        "target": {"type": "str", "required": True},
        "backend": {"type": "str", "choices": ["flat", "qcow2", "rbd"], "required": True},
        "location": {"type": "str", "required": True},
        "name": {"type": "str"},
        "conf": {"type": "path"},
        "user": {"type": "str"},
        "keyring": {"type": "path"},
        "secret": {"type": "str", "no_log": False},
    }
