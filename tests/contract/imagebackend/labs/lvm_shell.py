# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""LVM's tools without their start, which in the guest is nine tenths of what one costs.

One process has LVM's own library open and does one command after the other, as LVM's shell does. What is called in place of a tool
(``lvm_client.c``) hands it the command and both outputs, and ends with its status.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
from pathlib import Path

TOOLS = ("lvchange", "lvcreate", "lvextend", "lvremove", "lvrename", "lvs", "vgchange", "vgcreate", "vgremove", "vgs")
_SOCKET = "/run/lvm-shell"  # the guest's own
_CLIENT = "lvm-client"
_LIBRARY = "liblvm2cmd.so.2.03"
_LINE = 1 << 17  # bytes, as in the client
_PROCESSED = 1  # lvm2cmd.h


def build(folder: Path) -> None:
    """The client, in a folder that the guest will see. :raises CalledProcessError: it cannot be compiled."""
    source = Path(__file__).with_name("lvm_client.c")
    names = [f'-DSHELL="{_SOCKET}"', '-DLVM="/usr/sbin/lvm"']
    # Linked as a whole it starts fastest.
    subprocess.run(["gcc", "-static", "-O1", "-Wall", "-Werror", *names, "-o", str(folder / _CLIENT), str(source)], check=True)


def start(folder: Path, links: Path) -> subprocess.Popen[bytes]:
    """From now on, whoever looks for one of the tools finds the client. :param links: a directory to be made for it."""
    links.mkdir()
    for tool in TOOLS:
        (links / tool).symlink_to(folder / _CLIENT)
    reading, writing = os.pipe()
    shell = subprocess.Popen([sys.executable, "-S", __file__, str(writing)], pass_fds=[writing])
    os.close(writing)
    with open(reading, "rb") as ready:
        if not ready.read():
            raise RuntimeError("LVM's library cannot be opened")
    _compare(links)
    os.environ["PATH"] = f"{links}:{os.environ['PATH']}"
    return shell


def _compare(links: Path) -> None:
    """Hold it to what the tools themselves answer: where all is well, to a fault, to a command that is wrong, and to what it cannot take."""
    for tool, *arguments in (["vgs", "--reportformat", "json"], ["lvs", "nowhere"], ["lvcreate", "--nonsense"], ["vgs", "a b"]):
        answers = []
        for directory in (Path("/usr/sbin"), links):
            # By their bare name, which some of the messages begin with.
            done = subprocess.run([tool, *arguments], executable=str(directory / tool), capture_output=True, check=False)
            answers.append((done.returncode, done.stdout, done.stderr))
        if answers[0] != answers[1]:
            raise RuntimeError(f"{tool} {' '.join(arguments)} answers {answers[0]}, and LVM's library {answers[1]}")


def _serve(ready: int) -> None:
    library, libc = ctypes.CDLL(_LIBRARY), ctypes.CDLL(None)
    library.lvm2_init.restype = ctypes.c_void_p
    library.lvm2_run.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    lvm = library.lvm2_init()
    if not lvm:
        sys.exit("LVM's library cannot be initialised")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(_SOCKET)
        door.listen(64)
        os.write(ready, b".")
        os.close(ready)
        while True:
            client, _address = door.accept()
            with client:
                line, outputs, _flags, _from = socket.recv_fds(client, _LINE, 2)
                if len(outputs) == 2:
                    status = _done(library, libc, lvm, line.strip(), outputs)
                    # Its client may have been killed.
                    with contextlib.suppress(OSError):
                        client.send(bytes([status]))


def _done(library: ctypes.CDLL, libc: ctypes.CDLL, lvm: int, line: bytes, outputs: list[int]) -> int:
    """:returns: the status that the tool would end with."""
    kept = os.dup(1), os.dup(2)
    for number, output in enumerate(outputs, 1):
        os.dup2(output, number)
        os.close(output)
    try:
        status = int(library.lvm2_run(lvm, line))
        libc.fflush(None)
    finally:
        for number, output in enumerate(kept, 1):
            os.dup2(output, number)
            os.close(output)
    return 0 if status == _PROCESSED else status


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
