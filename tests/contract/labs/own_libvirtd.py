# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A libvirtd of one's own, beside any other on the machine: it can be killed, and its domains are nobody else's.

It runs in a mount namespace in which its directories lie over the system's; only the network is shared. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import libvirt

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock
from ansible_collections.poolwright.virt.tests.contract.labs.base import LabFailed

_DIRECTORIES = {
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "etc": "/etc/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
}
_QEMU_CONF = 'user = "root"\ngroup = "root"\nsecurity_driver = "none"\nnamespaces = []\nstdio_handler = "file"\n'
_START_SECONDS = 300.0
_EVERYTHING = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
NETWORK = "default"
# One place for all processes, whatever each takes for its directory of temporary files.
_NETWORK_LOCK = "/run/pwlab-network.lock"


class OwnLibvirtd:
    """:raises LabFailed: libvirt is not installed, or this is not run by root."""

    def __init__(self) -> None:
        missing = [tool for tool in ("libvirtd", "virsh", "qemu-img", "unshare", "ip") if shutil.which(tool) is None]
        if missing or os.geteuid() != 0:
            raise LabFailed(f"missing: {', '.join(missing)}" if missing else "it has to be run by root")
        # Short, wherever temporary files go: the path of a UNIX socket has 107 characters at most.
        self.folder = Path(tempfile.mkdtemp(prefix="pwlab.", dir="/var/tmp"))
        self._daemon: subprocess.Popen[bytes] | None = None
        for name in _DIRECTORIES:
            (self.folder / name).mkdir()
        (self.folder / "etc" / "qemu").mkdir()
        (self.folder / "etc" / "libvirtd.conf").write_text('unix_sock_rw_perms = "0700"\nauth_unix_rw = "none"\n')
        (self.folder / "etc" / "qemu.conf").write_text(_QEMU_CONF)
        self._network_defined = False

    @property
    def socket(self) -> Path:
        return self.folder / "run" / "libvirt-sock"

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.socket}"

    def start(self) -> None:
        """Start the daemon, again if it was killed, with the network ``default`` active."""
        (self.folder / "libvirtd.pid").unlink(missing_ok=True)
        mounts = "".join(f"mount --bind '{self.folder}/{name}' {path}; " for name, path in _DIRECTORIES.items())
        script = f"set -e; {mounts}exec libvirtd --pid-file '{self.folder}/libvirtd.pid'"
        with open(self.folder / "libvirtd.log", "ab") as log:
            self._daemon = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "bash", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + _START_SECONDS
        while subprocess.run([*self._virsh(), "uri"], capture_output=True, check=False).returncode != 0:
            if time.monotonic() > until or self._daemon.poll() is not None:
                said = (self.folder / "libvirtd.log").read_text(errors="replace")
                raise LabFailed(f"libvirtd does not answer: {said[-500:]}")
            time.sleep(0.05)
        if not self._network_defined:
            self._define_network()

    def kill(self) -> None:
        """SIGKILL; guests and the network go on."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait()

    def stop(self) -> None:
        """End the daemon with all its guests and its network. Never raises; may be called twice."""
        if self._daemon is not None and self._daemon.poll() is None:
            names = self.virsh("list", "--name", check=False).split()
            for name in names:
                self.virsh("destroy", name, check=False)
            self.virsh("net-destroy", NETWORK, check=False)
            self._daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._daemon.wait(20)
            self._daemon.kill()
            self._daemon.wait()
        self._daemon = None
        for pidfile in [*self.folder.glob("run/qemu/*.pid"), *self.folder.glob("run/network/*.pid")]:
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(pidfile.read_text()), signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def without_leases(self) -> Iterator[None]:
        """Its DHCP server answers nobody meanwhile: what boots has no address before the end."""
        server = int((self.folder / "run" / "network" / f"{NETWORK}.pid").read_text())
        os.kill(server, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(server, signal.SIGCONT)

    @contextlib.contextmanager
    def opened(self) -> Iterator[libvirt.virConnect]:
        """A connection of one's own; costs less than a virsh."""
        connection = libvirt.open(self.uri)
        try:
            yield connection
        finally:
            connection.close()

    def remove_domains(self) -> None:
        """All of them, with what libvirt keeps of them."""
        with self.opened() as connection:
            for domain in connection.listAllDomains():
                persistent = domain.isPersistent()
                # A daemon that has just come back notices only then that a guest has ended.
                with contextlib.suppress(libvirt.libvirtError):
                    domain.destroy()
                if persistent:
                    domain.undefineFlags(_EVERYTHING)

    def virsh(self, *arguments: str, check: bool = True, stdin: str = "") -> str:
        done = subprocess.run([*self._virsh(), *arguments], input=stdin, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"virsh {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def _virsh(self) -> list[str]:
        return ["virsh", "--quiet", "--connect", self.uri]

    def _define_network(self) -> None:
        # Between the look at what is free and the bridge, another test process must not choose the same.
        clock = Clock()
        with FileLock(_NETWORK_LOCK, clock, Deadline.after(clock, _START_SECONDS)):
            self._start_network()
        self._network_defined = True

    def _start_network(self) -> None:
        said = ""
        routes = subprocess.run(["ip", "-4", "route", "show"], capture_output=True, text=True, check=True).stdout
        for third in (number for number in range(200, 250) if f"192.168.{number}." not in routes):
            # What is free may be taken by now; libvirt itself is who can tell.
            try:
                self._start_network_on(third)
            except AssertionError as exc:
                said = str(exc)
            else:
                return
        raise LabFailed(f"no network can be had for libvirt: {said or 'all of 192.168.200.0 to 192.168.249.0 are taken'}")

    def _start_network_on(self, third: int) -> None:
        # No spanning tree and no ping before an address is offered: both only cost time here.
        xml = f"""
<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'>
  <name>{NETWORK}</name><bridge name='pwlab{third}' stp='off' delay='0'/>
  <ip address='192.168.{third}.1' netmask='255.255.255.0'><dhcp><range start='192.168.{third}.2' end='192.168.{third}.254'/></dhcp></ip>
  <dnsmasq:options><dnsmasq:option value='no-ping'/></dnsmasq:options>
</network>"""
        self.virsh("net-define", "/dev/stdin", stdin=xml)
        try:
            self.virsh("net-start", NETWORK)
        except AssertionError:
            self.virsh("net-undefine", NETWORK)
            raise
