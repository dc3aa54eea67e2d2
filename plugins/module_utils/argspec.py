# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Options that modules share; ``plugins/doc_fragments`` documents them under the same names."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.common.parameters import env_fallback

from ansible_collections.poolwright.virt.plugins.module_utils.storage.spec import access_options, making_options, place_options, source_options

Spec = dict[str, Any]

PROVIDERS = ("dummy", "libvirt", "vsphere")


def provider_options() -> Spec:
    """Which hypervisor, and how to reach it."""
    return {
        "provider": {"type": "str", "choices": list(PROVIDERS), "required": True},
        "uri": {"type": "str", "default": "qemu:///system"},
        "location": {"type": "path"},
        "virt_type": {"type": "str", "choices": ["auto", "kvm", "qemu"], "default": "auto"},
        "path": {"type": "path"},
        "dummy": {"type": "dict", "default": {}},
        **vsphere_options(),
    }


def required_by_provider() -> list[tuple[str, str, list[str]]]:
    return [("provider", "dummy", ["path"]), ("provider", "vsphere", ["hostname"])]


def vsphere_options() -> Spec:
    """A vCenter and who comes. The environment variables are those that AWX's credential for vCenter sets, and others named alike."""
    return {
        "hostname": _from_environment({"type": "str"}, "VMWARE_HOST"),
        "port": _from_environment({"type": "int", "default": 443}, "VMWARE_PORT"),
        "username": _from_environment({"type": "str"}, "VMWARE_USER"),
        "password": _from_environment({"type": "str", "no_log": True}, "VMWARE_PASSWORD"),
        "token": _from_environment({"type": "str", "no_log": True}, "VMWARE_TOKEN"),
        "validate_certs": _from_environment({"type": "bool", "default": True}, "VMWARE_VALIDATE_CERTS"),
        "ca_path": _from_environment({"type": "path"}, "VMWARE_CA_PATH"),
        "thumbprint": _from_environment({"type": "str"}, "VMWARE_THUMBPRINT"),
        "proxy_host": _from_environment({"type": "str"}, "VMWARE_PROXY_HOST"),
        "proxy_port": _from_environment({"type": "int", "default": 8080}, "VMWARE_PROXY_PORT"),
        "datacenter": _from_environment({"type": "str"}, "VMWARE_DATACENTER"),
    }


def _from_environment(option: Spec, variable: str) -> Spec:
    return {**option, "fallback": (env_fallback, [variable])}


def root_disk_options() -> Spec:
    """A machine's root disk; what it is made from is said beside it."""
    place = place_options()
    return {
        "backend": place["backend"],
        "size_gb": {"type": "float"},
        "location": {"type": "path"},
        **making_options(),
        **access_options(),
    }


def further_disk_options() -> Spec:
    """A disk beside the root disk; its name follows from its machine's."""
    return {**root_disk_options(), **source_options()}


def pool_options() -> Spec:
    """One entry of ``pools``."""
    return {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"]},
        "prefix": {"type": "str"},
        "size": {"type": "int"},
        "image": {
            "type": "dict",
            "options": {
                "source": {"type": "str", "required": True},
                "checksum": {"type": "str"},
                "format": {"type": "str", "choices": ["qcow2", "raw", "vmdk", "ova"]},
                "disk_type": {"type": "str", "choices": ["sparse", "preallocated", "thin", "thick", "eagerZeroedThick", "streamOptimized"]},
                "adapter_type": {"type": "str", "choices": ["lsiLogic", "lsiLogicsas", "busLogic", "paraVirtual", "ide"]},
            },
        },
        "template": {"type": "str"},
        "clone": {"type": "str", "choices": ["linked", "full", "instant"]},
        "folder": {"type": "str"},
        "cluster": {"type": "str"},
        "host": {"type": "str"},
        "resource_pool": {"type": "str"},
        "datastore": {"type": "str"},
        "cpus": {"type": "int", "default": 1},
        "memory_mb": {"type": "int", "default": 1024},
        "disk": {"type": "dict", "options": root_disk_options()},
        "disks": {"type": "list", "elements": "dict", "default": [], "options": further_disk_options()},
        "networks": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "network": {"type": "str"},
                "bridge": {"type": "str"},
                "model": {"type": "str", "choices": ["virtio", "vmxnet3", "e1000", "e1000e", "rtl8139"]},
            },
        },
        "user_data": {"type": "str", "no_log": True},
        "network_config": {"type": "str"},
        "ssh_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
        "hostname": {"type": "str"},
        "power": {"type": "str", "choices": ["on", "off"], "default": "on"},
        "ready": {
            "type": "dict",
            "options": {
                "check": {"type": "str", "choices": ["none", "running", "ip", "tcp"]},
                "port": {"type": "int", "default": 22},
                "timeout": {"type": "float", "default": 300},
                "grace": {"type": "float", "default": 10},
                "interval": {"type": "float", "default": 0.5},
            },
        },
        "on_unhealthy": {"type": "str", "choices": ["replace", "start", "report"], "default": "replace"},
        "on_outdated": {"type": "str", "choices": ["replace", "report"], "default": "replace"},
        "reset": {"type": "str", "choices": ["rebuild", "snapshot"], "default": "rebuild"},
        "max_unavailable": {"type": "str", "default": "25%"},
    }


def run_options() -> Spec:
    """How a run that changes pools goes about it."""
    return {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "all_pools": {"type": "bool", "default": False},
        "max_parallel": {"type": "int"},
        "max_delete": {"type": "str"},
        "keep_failed": {"type": "bool", "default": False},
        "timeout": {"type": "float", "default": 3600},
        "lock_timeout": {"type": "float", "default": 600},
    }
