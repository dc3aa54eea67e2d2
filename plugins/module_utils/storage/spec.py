# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The options of a described disk, as ``AnsibleModule`` takes them: the same words wherever a disk can be asked for."""

from __future__ import annotations

from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import BACKEND_NAMES
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import FORMATS, SUFFIXES

Spec = dict[str, Any]


def disk_options() -> Spec:
    """One disk: its place, what is on it, and how it is made. ``content`` is ``blank`` or a mapping, so Ansible leaves it as it is."""
    return {**place_options(), **source_options(), "size_gb": {"type": "float"}, **making_options(), **access_options()}


def place_options() -> Spec:
    return {"backend": {"type": "str", "choices": list(BACKEND_NAMES)}, "location": {"type": "str"}, "name": {"type": "str"}}


def source_options() -> Spec:
    """What is on the disk."""
    return {
        "image": {
            "type": "dict",
            "options": {
                "source": {"type": "str", "required": True},
                "checksum": {"type": "str"},
                "format": {"type": "str", "choices": list(FORMATS), "default": "qcow2"},
                "compression": {"type": "str", "choices": ["none", *SUFFIXES]},
            },
        },
        "content": {"type": "raw"},
    }


def making_options() -> Spec:
    """Choices that some backends have when a disk is made; not given is the backend's own way."""
    return {
        "full": {"type": "bool", "default": False},
        "preallocation": {"type": "str", "choices": ["off", "metadata", "falloc", "full"]},
        "cluster_size": {"type": "int"},
        "extended_l2": {"type": "bool"},
        "compressed": {"type": "bool"},
    }


def access_options() -> Spec:
    """How a disk is reached, and what becomes of its blocks once it is removed."""
    return {
        "clear": {"type": "str", "choices": ["none", "zero", "discard"]},
        "conf": {"type": "path"},
        "user": {"type": "str"},
        "keyring": {"type": "path", "no_log": False},
        "secret": {"type": "str", "no_log": False},
    }
