# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Guests with UEFI: one that is signed boots with secure boot and a TPM to its last line, one that is not is refused by the firmware."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.tests.contract.labs.own_libvirtd import NETWORK
from ansible_collections.poolwright.virt.tests.integration.libvirt.conftest import TINY
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.conftest import NAME, Lab

SHIM = Path("/usr/lib/shim/shimx64.efi.signed")
GRUB = Path("/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed")
MENU = """
search --no-floppy --file --set=root /vmlinuz
linux /vmlinuz console=ttyS0 panic=1 tsc=reliable cryptomgr.notests mitigations=off no_timer_check
initrd /initrd.gz
boot
"""


def run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny guest with a boot chain that Microsoft's and Debian's keys have signed."""
    folder = tmp_path_factory.mktemp("efi")
    raw, menu = folder / "signed.raw", folder / "grub.cfg"
    menu.write_text(MENU)
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", TINY, raw)
    run("mmd", "-i", raw, "::EFI", "::EFI/BOOT", "::EFI/debian")
    for source, target in ((SHIM, "BOOT/BOOTX64.EFI"), (GRUB, "BOOT/grubx64.efi"), (menu, "debian/grub.cfg")):
        run("mcopy", "-i", raw, source, f"::EFI/{target}")
    return raw


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory, signed: Path) -> Path:
    """The same with one byte of the first program changed."""
    folder = tmp_path_factory.mktemp("efi")
    raw, program = folder / "unsigned.raw", folder / "BOOTX64.EFI"
    program.write_bytes(SHIM.read_bytes().replace(b"UEFI SHIM", b"UEFI SHAM", 1))
    raw.write_bytes(signed.read_bytes())
    run("mcopy", "-o", "-i", raw, program, "::EFI/BOOT/BOOTX64.EFI")
    return raw


def guest(lab: Lab, image: Path, **options: Any) -> dict[str, Any]:
    root = lab.root(backend="qcow2", image={"source": str(image), "format": "raw"})
    log = {"log_file": str(lab.folder / "serial.log"), "append": False}
    return {"machine": "q35", "firmware": "efi", "memory_mb": 384, "disks": [root], "networks": [{"network": NETWORK}], "serial": log, **options}


def said_within(lab: Lab, words: str, seconds: int = 900) -> str:
    """What the guest wrote on its serial port, once these words are in it."""
    pause, text = threading.Event(), ""
    for _turn in range(seconds * 5):
        path = lab.folder / "serial.log"
        text = path.read_text(errors="replace") if path.exists() else ""
        if words in text:
            return text
        pause.wait(0.2)
    raise AssertionError(f"the guest did not say {words!r}, but: {text[-1500:]}")


def nvram_files(lab: Lab) -> list[Path]:
    assert lab.daemon is not None
    return list((lab.daemon.folder / "lib" / "qemu" / "nvram").glob(f"{NAME}*"))


def test_a_signed_guest_boots_with_secure_boot_and_a_tpm(lab: Lab, signed: Path) -> None:
    wanted = guest(lab, signed, secure_boot=True, tpm={"model": "tpm-crb"})
    made = lab.booted(**wanted)
    assert lab.answer(made).startswith("SSH-2.0-tiny_")
    text = (lab.folder / "serial.log").read_text(errors="replace")
    assert "secureboot: Secure boot enabled" in text
    assert "efi: " in text and "TPMEventLog=" in text
    assert lab.run(**wanted)["changed"] is False
    assert len(nvram_files(lab)) == 1
    assert lab.run(state="absent", force=True)["state"] == "absent"
    assert nvram_files(lab) == []


def test_a_guest_that_is_not_signed_is_refused_by_the_firmware(lab: Lab, unsigned: Path) -> None:
    wanted = guest(lab, unsigned, secure_boot=True, state="running")
    lab.run(**wanted)
    said_within(lab, "Access Denied")
    # The same disk starts where nobody asks for signatures; the keys were in the NVRAM.
    changed = lab.run(**{**wanted, "secure_boot": False, "state": "rebooted"}, force=True, shutdown_timeout=0)
    assert changed["actions"] == ["define", "shut down", "reset the nvram", "start"]
    said_within(lab, "Linux version")
    assert lab.run(**{**wanted, "secure_boot": False})["changed"] is False
    assert lab.run(name=NAME, state="shutoff", force=True, shutdown_timeout=60)["state"] == "shutoff"
