# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether this machine can really run a KVM guest.

Inside some virtual machines ``/dev/kvm`` opens, creates guests and even runs a few instructions of theirs, but only by
interpreting them (KVM without hardware virtualisation, such as PVM): no ordinary guest gets through its firmware, and
libvirt offers ``kvm`` there all the same. So the probe runs a tiny guest with an instruction that KVM's interpreter
does not know and every processor with KVM does, and looks how it ended.

The numbers are those of Linux's stable KVM API (``Documentation/virt/kvm/api.rst``, ``include/uapi/linux/kvm.h`` and
``arch/x86/include/uapi/asm/kvm.h``).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import platform
import select
import signal
import struct
import time

DEVICE = "/dev/kvm"

KVM_GET_API_VERSION = 0xAE00
KVM_CREATE_VM = 0xAE01
KVM_GET_VCPU_MMAP_SIZE = 0xAE04
KVM_CREATE_VCPU = 0xAE41
KVM_SET_USER_MEMORY_REGION = 0x4020AE46
KVM_SET_TSS_ADDR = 0xAE47
KVM_RUN = 0xAE80
KVM_SET_REGS = 0x4090AE82
KVM_GET_SREGS = 0x8138AE83
KVM_SET_SREGS = 0x4138AE84

KVM_API_VERSION = 12
KVM_EXIT_HLT = 5
# struct kvm_run: four bytes of requests and padding, then padding up to the exit reason.
EXIT_REASON_OFFSET = 8
SREGS_SIZE = 0x138

# In 16-bit real mode, where a virtual processor starts.
PROGRAM = (
    b"\xb8\x0f\x0f"  # mov ax, 0x0f0f
    b"\xf3\x0f\xb8\xc0"  # popcnt ax, ax
    b"\x83\xf8\x08"  # cmp ax, 8
    b"\x75\xfe"  # jne to itself, until the timeout
    b"\xf4"  # hlt
)
GUEST_PAGE = 0x1000
# Three free pages of the guest's addresses that real mode on Intel needs for itself. Python passes a signed integer, hence below 2 GiB.
TSS_ADDRESS = 0x7FFFB000


def kvm_works(timeout: float = 5.0, device: str = DEVICE) -> bool:
    """Whether a KVM guest runs here; false after ``timeout`` seconds without an answer.

    Never raises and never hangs: the guest lives in a child process that is killed with it. Takes a few milliseconds.
    On x86-64 a guest computes and halts. On other architectures only the creation of a guest and its processor is tried.
    """
    try:
        return os.access(device, os.R_OK | os.W_OK) and _in_child(device, timeout)
    except OSError:
        return False


def _in_child(device: str, timeout: float) -> bool:
    reader, writer = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        raise
    if child == 0:
        # Nothing of the parent may run here again, neither its handlers at exit nor an exception on its way up.
        try:
            if _guest_runs(device):
                os.write(writer, b"y")
        finally:
            os._exit(0)
    os.close(writer)
    try:
        ready, _writable, _failed = select.select([reader], [], [], timeout)
        return bool(ready) and os.read(reader, 1) == b"y"
    finally:
        os.close(reader)
        _end(child)


def _end(child: int) -> None:
    """Kill and reap ``child``; one that the kernel does not let go of is left behind rather than waited for."""
    with contextlib.suppress(OSError):
        os.kill(child, signal.SIGKILL)
        for _time in range(100):
            if os.waitpid(child, os.WNOHANG)[0]:
                return
            time.sleep(0.005)


def _guest_runs(device: str) -> bool:
    """Raises ``OSError`` where KVM refuses a step. The caller's exit closes all that is opened here."""
    kvm = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    if fcntl.ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION:
        return False
    guest = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    if platform.machine() not in ("x86_64", "AMD64"):
        return fcntl.ioctl(guest, KVM_CREATE_VCPU, 0) >= 0
    fcntl.ioctl(guest, KVM_SET_TSS_ADDR, TSS_ADDRESS)

    page = mmap.mmap(-1, mmap.PAGESIZE)
    page.write(PROGRAM)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    # slot, flags, guest address, size, our address
    fcntl.ioctl(guest, KVM_SET_USER_MEMORY_REGION, struct.pack("=IIQQQ", 0, 0, GUEST_PAGE, mmap.PAGESIZE, address))

    cpu = fcntl.ioctl(guest, KVM_CREATE_VCPU, 0)
    run = mmap.mmap(cpu, fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0))
    segments = bytearray(SREGS_SIZE)
    fcntl.ioctl(cpu, KVM_GET_SREGS, segments, True)
    # The code segment comes first: base (8 bytes), limit (4), selector (2). Its reset base is just below 4 GiB.
    struct.pack_into("=Q", segments, 0, 0)
    struct.pack_into("=H", segments, 12, 0)
    fcntl.ioctl(cpu, KVM_SET_SREGS, bytes(segments))
    # Sixteen general registers, then rip and rflags, whose bit 1 is always set.
    fcntl.ioctl(cpu, KVM_SET_REGS, struct.pack("=18Q", *([0] * 16), GUEST_PAGE, 0x2))

    fcntl.ioctl(cpu, KVM_RUN, 0)
    (reason,) = struct.unpack_from("=I", run, EXIT_REASON_OFFSET)
    return bool(reason == KVM_EXIT_HLT)
