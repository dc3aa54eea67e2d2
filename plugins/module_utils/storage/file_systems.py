# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The tools that write file systems, ISO images and swap spaces into a file, so that the same request gives the same bytes.

Ids come from the caller, times are one fixed moment, and what a tool would take from its host's configuration is said. Other versions of a tool
may lay things out otherwise.
"""

from __future__ import annotations

import os
import stat
import tempfile
import uuid as uuids
from collections.abc import Mapping, Sequence

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources, InvalidSpec, OperationFailed, ToolFailed
from ansible_collections.poolwright.virt.plugins.module_utils.process import find_tool, run_tool
from ansible_collections.poolwright.virt.plugins.module_utils.storage.trees import Tree

EPOCH = 1_000_000_000
"""When all that is in contents was made, in seconds: 2001-09-09 01:46:40 UTC."""

_ISO_DATE = "2001090901464000"
_SWAP_PAGE = 4096
_BLOCK, _INODE, _BYTES_PER_INODE = 4096, 256, 16384
_NAMESPACE = uuids.UUID("6b1d3a0e-6c1a-5f0b-9d56-5b0c1f6f2d11")
_PHASE = "content"
_PACKAGES = {"mke2fs": "e2fsprogs", "debugfs": "e2fsprogs", "mkfs.xfs": "xfsprogs", "xfs_db": "xfsprogs", "mkfs.vfat": "dosfstools", "mkswap": "util-linux"}
_EXT = "ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file"
_EXT_FEATURES = {
    "ext2": _EXT,
    "ext3": f"{_EXT},has_journal",
    "ext4": f"{_EXT},has_journal,extent,64bit,flex_bg,huge_file,dir_nlink,extra_isize,metadata_csum",
}
# XFS counts its times in nanoseconds from the least that 32 bits of seconds can say.
_XFS_EPOCH = (EPOCH + 2**31) * 10**9


def id_of(seed: str, purpose: str) -> str:
    """The UUID that contents of a description have, always the same."""
    return str(uuids.uuid5(_NAMESPACE, f"{purpose}\0{seed}"))


def make_ext(path: str, kind: str, size: int, seed: str, label: str, deadline: Deadline, tree: Tree | None = None) -> None:
    """:param kind: ``ext2``, ``ext3`` or ``ext4``."""
    own = id_of(seed, "file system")
    extended = f"hash_seed={id_of(seed, 'hash')},lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0,nodiscard"
    inodes = max(size // _BYTES_PER_INODE, 64 + (0 if tree is None else len(tree.entries)))
    argv = ["-q", "-F", "-b", str(_BLOCK), "-I", str(_INODE), "-N", str(inodes), "-m", "5" if tree is None else "0"]
    argv += ["-U", own, "-E", extended, "-O", f"none,{_EXT_FEATURES[kind]}", *(["-L", label] if label else []), path, str(size // _BLOCK)]
    # Without a configuration: that of the host says which features and sizes are usual there.
    _run("mke2fs", argv, path, deadline, {"MKE2FS_CONFIG": "/dev/null", "E2FSPROGS_FAKE_TIME": str(EPOCH), "SOURCE_DATE_EPOCH": str(EPOCH)})
    if tree is not None:
        _fill_ext(path, tree, deadline)


def _fill_ext(path: str, tree: Tree, deadline: Deadline) -> None:
    """In the order of the names: mke2fs itself takes them as the host's directory has them, with their times."""
    lines = [f"set_current_time @{EPOCH}", 'cd "/"', *_owner("/", tree.root.mode, 0, 0)]
    directory = ""
    for entry in tree.entries:
        parent, name = os.path.split(entry.path)
        if parent != directory:
            lines.append(f"cd {_quoted('/' + parent)}")
            directory = parent
        if entry.is_directory:
            lines.append(f"mkdir {_quoted(name)}")
        elif entry.is_link:
            lines.append(f"symlink {_quoted(name)} {_quoted(entry.target)}")
        else:
            lines.append(f"write {_quoted(os.path.join(tree.directory, entry.path))} {_quoted(name)}")
        lines += _owner(name, entry.mode, entry.uid, entry.gid)
    with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(path), prefix=".fill", encoding="utf-8", errors="surrogateescape") as script:
        script.write("\n".join(lines) + "\n")
        script.flush()
        said = _run("debugfs", ["-w", "-f", script.name, path], path, deadline, {"E2FSPROGS_FAKE_TIME": str(EPOCH)}, errors_too=True)
    _check_filled(said, tree.directory)


def _owner(name: str, mode: int, uid: int, gid: int) -> list[str]:
    what = f"set_inode_field {_quoted(name)}"
    found = [] if stat.S_ISLNK(mode) else [f"{what} mode 0{mode:o}"]
    return [*found, *([f"{what} uid {uid}"] if uid else []), *([f"{what} gid {gid}"] if gid else [])]


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _check_filled(said: str, directory: str) -> None:
    """The tool ends with status 0 whatever happened: all that it may say besides the commands is known."""
    known = ("debugfs: ", "debugfs 1", "Allocated inode: ", "Setting current time to ")
    strange = [line for line in said.splitlines() if line.strip() and not line.startswith(known)]
    if not strange:
        return
    words = "; ".join(line.strip() for line in strange[:3])
    if any("allocate" in line or "No space" in line for line in strange):
        raise InsufficientResources(
            f"{directory} does not fit on the disk: {words}", obj=directory, phase=_PHASE, hint="give a larger size_gb, or leave it out"
        )
    raise OperationFailed(f"debugfs could not copy all of the tree: {words}", obj=directory, phase=_PHASE, hint="run again once nobody changes the directory")


def make_xfs(path: str, seed: str, label: str, deadline: Deadline) -> None:
    named = ["-L", label] if label else []
    options = f"crc=1,finobt=1,bigtime=1,uuid={id_of(seed, 'file system')}"
    _run("mkfs.xfs", ["-q", "-f", "-K", "-m", options, *named, path], path, deadline)
    # The three inodes that it makes bear the time of day, and there is no option about that.
    commands: list[str] = []
    for inode in ("rootino", "rbmino", "rsumino"):
        commands += ["sb 0", f"addr {inode}", *(f"write {field}.sec {_XFS_EPOCH}" for field in ("core.atime", "core.mtime", "core.ctime", "v3.crtime"))]
    _run("xfs_db", ["-x", "-f", *(part for command in commands for part in ("-c", command)), path], path, deadline)


def make_vfat(path: str, seed: str, label: str, deadline: Deadline) -> None:
    named = ["-n", label] if label else []
    _run("mkfs.vfat", ["--invariant", "-i", id_of(seed, "file system")[:8], *named, path], path, deadline)


def make_swap(path: str, seed: str, label: str, deadline: Deadline) -> None:
    named = ["-L", label] if label else []
    _run("mkswap", ["-q", "-p", str(_SWAP_PAGE), "-U", id_of(seed, "swap"), *named, path], path, deadline)


def make_iso(path: str, tree: Tree, label: str, deadline: Deadline) -> None:
    _run("xorriso", [*_iso_arguments(label), "-o", path, tree.directory], tree.directory, deadline)


def iso_size(tree: Tree, label: str, deadline: Deadline) -> int:
    """Bytes that ``make_iso`` will write."""
    said = _run("xorriso", [*_iso_arguments(label), "-print-size", tree.directory], tree.directory, deadline)
    numbers = [line for line in said.split() if line.isdigit()]
    if not numbers:
        raise OperationFailed("xorriso did not say how large the image will be", obj=tree.directory, phase=_PHASE)
    return int(numbers[-1]) * 2048


def _iso_arguments(label: str) -> list[str]:
    return ["-as", "mkisofs", "-quiet", "-J", "-r", "-V", label or "CDROM", f"--modification-date={_ISO_DATE}", "--set_all_file_dates", _ISO_DATE]


def _run(tool: str, arguments: Sequence[str], obj: str, deadline: Deadline, environment: Mapping[str, str] | None = None, *, errors_too: bool = False) -> str:
    path = find_tool(tool, _PACKAGES.get(tool, tool))
    deadline.check(f"the work of {tool}", obj=obj, phase=_PHASE)
    try:
        return run_tool([path, *arguments], timeout=deadline.remaining, phase=_PHASE, obj=obj, environment=environment, errors_too=errors_too)
    except ToolFailed as exc:
        if "No space left on device" in exc.message or "exceeds free space" in exc.message:
            raise InsufficientResources(exc.message, obj=obj, phase=_PHASE, hint="free some space, or use another location") from exc
        if "too small" in exc.message or "too few" in exc.message.lower():
            raise InvalidSpec([f"size_gb: too small for its contents: {exc.message}"]) from exc
        raise
