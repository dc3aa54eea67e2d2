# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""How a Ceph cluster is reached, and what its configuration file says."""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec

DEFAULT_CONF = "/etc/ceph/ceph.conf"
_ADDRESS = re.compile(r"(?:(v[12]):)?(\[[0-9a-fA-F:]+\]|[^\[\],:\s/]+)(?::(\d+))?(?:/\d+)?")
_PORTS = {"v1": 6789, "v2": 3300}


@dataclass(frozen=True)
class Access:
    """How a cluster is reached: paths of its configuration and keyring, and the user's name; "" for the client's defaults."""

    conf: str = ""
    user: str = ""
    keyring: str = ""

    @property
    def arguments(self) -> list[str]:
        named = (("--conf", self.conf), ("--id", self.user), ("--keyring", self.keyring))
        return [part for option, value in named if value for part in (option, value)]

    def qemu_name(self, image: str) -> str:
        """``pool/image`` as QEMU's rbd driver takes it."""
        named = (("id", self.user), ("conf", self.conf), ("keyring", self.keyring))
        options = "".join(f":{option}={_escaped(value)}" for option, value in named if value)
        return f"rbd:{image}{options}"


def monitors(conf: str) -> tuple[tuple[str, int], ...]:
    """Name and port of each monitor that a configuration file names; of one with two addresses, that of the older protocol.

    :raises InvalidSpec: the file cannot be read, or names none.
    """
    found = _addresses(_global_values(conf).get("mon_host", ""))
    if not found:
        raise InvalidSpec([f"conf: {conf or DEFAULT_CONF} names no monitors (mon host in [global]), and libvirt has to be told them"])
    return found


def cluster_id(conf: str) -> str:
    """What a cluster is told from others by: its ``fsid`` if the configuration file has that, else its monitors.

    :raises InvalidSpec: as ``monitors``.
    """
    said = _global_values(conf).get("fsid", "").strip().lower()
    return said or ",".join(f"{name}:{port}" for name, port in sorted(monitors(conf)))


def _global_values(conf: str) -> dict[str, str]:
    """The ``[global]`` section, its keys with underscores; the last value of each counts."""
    path = conf or DEFAULT_CONF
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#", ";"), inline_comment_prefixes=("#", ";"), allow_no_value=True)
    try:
        with open(path, encoding="utf-8") as stream:
            # Ceph indents as it likes; to the parser that would be a value that goes on.
            parser.read_string("\n".join(line.strip() for line in stream))
    except (OSError, UnicodeDecodeError, configparser.Error) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is no such file"
        raise InvalidSpec([f"conf: the cluster's configuration {path} cannot be read: {why}"]) from exc
    if not parser.has_section("global"):
        return {}
    return {re.sub(r"[ _-]+", "_", key): value or "" for key, value in parser.items("global")}


def _addresses(text: str) -> tuple[tuple[str, int], ...]:
    """Of ``a,b:6789 [v2:192.0.2.1:3300/0,v1:192.0.2.1:6789/0]``: each monitor once."""
    found = []
    for group in re.findall(r"\[v[12]:[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*\]|[^,;\s]+", text):
        inner = group[1:-1] if re.match(r"\[v[12]:", group) else group
        known: dict[str, tuple[str, int]] = {}
        for part in inner.split(","):
            match = _ADDRESS.fullmatch(part.strip())
            if match:
                protocol = match.group(1) or "v1"
                known[protocol] = (match.group(2).strip("[]"), int(match.group(3) or _PORTS[protocol]))
        if known:
            found.append(known.get("v1") or known["v2"])
    return tuple(found)


def _escaped(value: str) -> str:
    return re.sub(r"([\\:@])", r"\\\1", value)
