# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The qcow2 header, as far as it tells a whole file from a cut or forged one.

qemu reads beyond the end of a file as zeros: of a file cut off before its tables it makes an empty disk, without a
word. So the places of the tables are compared with the file's size here. Layout: qemu's docs/interop/qcow2.txt.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_FIELDS = struct.Struct(">4sIQIIQIIQQIIQ")
_FEATURES = struct.Struct(">Q")
_FEATURES_AT = 72
_HEADER_LENGTH_AT = 100
HEADER_BYTES = 104
_MAGIC = b"QFI\xfb"
_CORRUPT = 1 << 1
_PLAIN = 1 << 0 | _CORRUPT | 1 << 3 | 1 << 4  # dirty, corrupt, compression type, extended L2; 1 << 2 is an external data file
_EXTENDED_L2 = 1 << 4  # entries of 16 bytes instead of 8
_MOST_SNAPSHOTS = 256  # qemu-img lists forged ones by the ten thousand, for seconds
_SNAPSHOT_BYTES = 40


@dataclass(frozen=True)
class Qcow2Header:
    """Offsets and sizes in bytes, ``l1_entries`` of 8 bytes each."""

    cluster_bits: int
    virtual_size: int
    encryption: int
    l1_entries: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    snapshots: int
    snapshots_offset: int
    incompatible: int
    header_length: int
    version: int = 3

    @property
    def plain_features(self) -> bool:
        """Whether all that a reader must know to read it is known here, and nothing of it leads to another file."""
        return self.version in (2, 3) and not self.incompatible & ~_PLAIN

    @property
    def cluster_size(self) -> int:
        return 1 << self.cluster_bits

    def problems(self, file_size: int) -> list[str]:
        """What a file of ``file_size`` bytes with this header cannot be trusted for; empty where nothing is wrong."""
        if not 9 <= self.cluster_bits <= 21:
            return [f"its cluster size (2^{self.cluster_bits}) does not exist"]
        found = []
        if self.encryption:
            found.append("it is encrypted")
        if self.incompatible & _CORRUPT:
            found.append("it is marked as corrupt")
        if self.header_length < 72 or self.header_length > self.cluster_size:
            found.append("its header has an impossible length")
        covered = self.cluster_size * (self.cluster_size // (16 if self.incompatible & _EXTENDED_L2 else 8))
        if self.l1_entries < -(-self.virtual_size // covered):
            found.append("its L1 table is too small for its virtual size")
        if self.snapshots > _MOST_SNAPSHOTS:
            found.append(f"it claims {self.snapshots} snapshots")
        tables = (
            ("L1", self.l1_offset, self.l1_entries * 8),
            ("refcount", self.refcount_offset, self.refcount_clusters << self.cluster_bits),
            ("snapshot", self.snapshots_offset, self.snapshots * _SNAPSHOT_BYTES),
        )
        for name, offset, length in tables:
            if offset % self.cluster_size or (length and not offset):
                found.append(f"its {name} table is at an impossible place")
            elif offset + length > file_size:
                found.append(f"its {name} table lies beyond the end of the file: it is cut off")
        return found


def parse(head: bytes) -> Qcow2Header | None:
    """The header in the file's first ``HEADER_BYTES`` bytes; None where it is not a whole one."""
    if len(head) < HEADER_BYTES or not head.startswith(_MAGIC):
        return None
    _magic, version, _backing, _length, bits, size, crypt, l1_entries, l1, refcounts, clusters, snapshots, snapshots_at = _FIELDS.unpack_from(head)
    modern = version >= 3
    return Qcow2Header(
        cluster_bits=bits,
        virtual_size=size,
        encryption=crypt,
        l1_entries=l1_entries,
        l1_offset=l1,
        refcount_offset=refcounts,
        refcount_clusters=clusters,
        snapshots=snapshots,
        snapshots_offset=snapshots_at,
        incompatible=_FEATURES.unpack_from(head, _FEATURES_AT)[0] if modern else 0,
        header_length=struct.unpack_from(">I", head, _HEADER_LENGTH_AT)[0] if modern else 72,
        version=version,
    )
