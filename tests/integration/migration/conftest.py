# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two KVM hosts on one machine, and a guest that goes from one to the other."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.guests.spec import run_options, state_option
from ansible_collections.poolwright.virt.plugins.module_utils.migration.options import module_options
from ansible_collections.poolwright.virt.tests.integration import forked
from ansible_collections.poolwright.virt.tests.integration.migration import on_host
from ansible_collections.poolwright.virt.tests.integration.still import still_image

ROOT = Path(__file__).parents[3]
PAIR = ROOT / "tests" / "lab" / "kvm-pair.sh"
TINY = ROOT / ".work" / "lab" / "tiny.qcow2"
GUEST_DEFAULTS = {key: option.get("default") for key, option in {**run_options(), **state_option()}.items()}
DEFAULTS = {key: option.get("default") for key, option in module_options().items()}
BOOT_SECONDS = 600.0
EVERYTHING = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
# What `virsh domstate` says of each.
STATES = {
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "idle",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "in shutdown",
    libvirt.VIR_DOMAIN_SHUTOFF: "shut off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
}


@dataclass(frozen=True)
class Alive:
    """What a guest says of itself: the same boot id and a larger uptime are the same run of the same kernel."""

    boot: str
    uptime: float


@dataclass
class Pair:
    """Two hosts, by their numbers, and short words for what is done on them. ``local`` is a directory that each has of its own."""

    folder: Path
    image: Path
    _cut: set[str] = field(default_factory=set)
    _whole: bool = False

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    @property
    def local(self) -> Path:
        return self.folder / "local"

    def lab(self, *words: str) -> str:
        done = subprocess.run([str(PAIR), *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill(self, host: int) -> None:
        """Its libvirtd; guests go on."""
        self._whole = False
        self.lab("kill", str(host), str(self.folder))

    def cut(self, host: int) -> None:
        """Pull its cable."""
        self._cut.add(str(host))
        self.lab("cut", str(host), str(self.folder))

    def join(self, host: int) -> None:
        self.lab("join", str(host), str(self.folder))
        self._cut.discard(str(host))

    def up(self) -> None:
        self.lab("up", str(self.folder))
        self._whole = True

    def repair(self) -> None:
        """Both hosts as they were, whatever a case has done to them."""
        for host in sorted(self._cut):
            self.join(int(host))
        if not self._whole or not all(self._answers(host) for host in (1, 2)):
            self.up()

    def _answers(self, host: int) -> bool:
        try:
            with self.opened(host):
                return True
        except libvirt.libvirtError:
            return False

    def namespaces(self, host: object) -> list[str]:
        if host == "net":
            return [f"/run/netns/{self.space('net')}"]
        pid = (self.folder / str(host) / "libvirtd.pid").read_text().strip()
        return [f"/proc/{pid}/ns/{kind}" for kind in ("uts", "net", "mnt")]

    def inside(self, host: int) -> list[str]:
        """What a command begins with that sees a host's files and its network."""
        uts, net, mount = self.namespaces(host)
        return ["nsenter", f"--uts={uts}", f"--net={net}", f"--mount={mount}", "--"]

    def on(self, host: int, *command: str, check: bool = True) -> str:
        done = subprocess.run([*self.inside(host), *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def uri(self, host: int) -> str:
        return f"qemu+tcp://10.77.0.{host}/system"

    @contextlib.contextmanager
    def opened(self, host: int) -> Iterator[libvirt.virConnect]:
        """Its libvirt, without us; costs less than a virsh."""
        connection = libvirt.open(f"qemu+unix:///system?socket={self.folder / str(host) / 'run' / 'libvirt-sock'}")
        try:
            yield connection
        finally:
            connection.close()

    def virsh(self, host: int, *words: str, check: bool = True) -> str:
        path = self.folder / str(host) / "run" / "libvirt-sock"
        command = ["virsh", "--quiet", "--connect", f"qemu+unix:///system?socket={path}", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()

    # -- the modules' work

    def begin(self, host: int, work: str, point: int, params: dict[str, Any]) -> forked.Run:
        return forked.start(on_host.run, work, point, params, namespaces=self.namespaces(host))

    def end(self, running: forked.Run) -> dict[str, Any]:
        """The result, ``killed`` where it was killed."""
        found = running.result()
        return {"killed": True} if found is None else dict(found)

    def guest(self, host: int, **options: Any) -> dict[str, Any]:
        """A run of ``libvirt_guest``."""
        params = {**GUEST_DEFAULTS, "location": str(self.local / "state"), "virt_type": "qemu", "memory_mb": 96, **options}
        done = self.end(self.begin(host, "guest", -1, params))
        assert "error" not in done, done
        return done

    def params(self, guest: str, origin: int = 1, **options: Any) -> dict[str, Any]:
        params = {**DEFAULTS, "name": guest, "target": self.uri(3 - origin), "location": str(self.local / "state"), "timeout": 900.0}
        return {**params, **options}

    def migrate(self, guest: str, origin: int = 1, point: int = -1, **options: Any) -> dict[str, Any]:
        """A run of ``libvirt_migrate`` on the host ``origin``, to the other one."""
        return self.end(self.begin(origin, "migrate", point, self.params(guest, origin, **options)))

    # -- what is seen

    def state(self, host: int, name: str) -> str:
        """Empty where it is not there."""
        with contextlib.suppress(libvirt.libvirtError), self.opened(host) as connection:
            return STATES[connection.lookupByName(name).state()[0]]
        return ""

    def moves(self, host: int, name: str) -> bool:
        """Whether libvirt is busy with moving it away."""
        with contextlib.suppress(libvirt.libvirtError), self.opened(host) as connection:
            job = connection.lookupByName(name).jobStats()
            return job["type"] != libvirt.VIR_DOMAIN_JOB_NONE and "time_elapsed" in job
        return False

    def in_post_copy(self, host: int, name: str) -> bool:
        """Whether it runs here with a part of its memory still to come."""
        with contextlib.suppress(libvirt.libvirtError), self.opened(host) as connection:
            return bool(connection.lookupByName(name).state() == [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY])
        return False

    def states(self, name: str) -> tuple[str, str]:
        """On both."""
        return self.state(1, name), self.state(2, name)

    def files(self, host: int, folder: str = "disks") -> list[str]:
        """In a directory of the host's own."""
        path = self.folder / str(host) / "local" / folder
        return sorted(str(one.relative_to(path)) for one in path.rglob("*") if one.is_file()) if path.exists() else []

    def pools(self, host: int) -> str:
        with self.opened(host) as connection:
            return "\n".join(pool.name() for pool in connection.listAllStoragePools())

    def digest(self, host: int, path: str, format: str = "qcow2") -> str:
        """SHA-256 of what a guest sees of a disk, whether it runs or not."""
        script = f"f=$(mktemp -p {self.folder}) && qemu-img convert -U -f {format} -O raw {path} $f && sha256sum <$f; rm -f $f"
        return self.on(host, "bash", "-c", script).split()[0]

    def address(self, name: str, host: int = 1) -> str:
        with self.opened(host) as connection:
            found = ET.fromstring(connection.lookupByName(name).XMLDesc()).find("devices/interface/mac")
        assert found is not None, f"{name} has no NIC"
        for line in (self.folder / "leases").read_text().splitlines():
            if line.split()[1] == found.get("address"):
                return line.split()[2]
        return ""

    def ask(self, address: str) -> Alive | None:
        """What the guest says, asked from the hosts' network; nothing where it does not answer."""
        with contextlib.suppress(OSError), self._socket() as asking:
            asking.settimeout(30)
            asking.connect((address, 23))
            answer = asking.makefile().read().split()
            if len(answer) == 2:
                return Alive(answer[0], float(answer[1]))
        return None

    def alive(self, address: str, seconds: float = BOOT_SECONDS) -> Alive:
        """What the guest says, once it answers."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self.ask(address)
            if answer is not None:
                return answer
            assert time.monotonic() < deadline, f"{address} does not answer"
            time.sleep(0.2)

    def _socket(self) -> socket.socket:
        """One on the hosts' network: it belongs to the namespace that its thread was in as it was made, whoever uses it then."""
        made: list[socket.socket] = []

        def make() -> None:
            forked.enter(self.namespaces("net"))
            made.append(socket.socket())

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def booted(self, host: int, name: str) -> str:
        """Its address, once it has one and answers."""
        deadline = time.monotonic() + BOOT_SECONDS
        while not self.address(name, host):
            assert time.monotonic() < deadline, "the guest got no address"
            time.sleep(0.2)
        address = self.address(name, host)
        self.alive(address)
        return address

    def disk(self, name: str, folder: Path, **options: Any) -> dict[str, Any]:
        """Of a guest that need not boot."""
        image = {"source": str(still_image(self.folder)), "format": "qcow2"}
        return {"backend": "qcow2", "location": str(folder), "name": f"{name}_root", "image": image, **options}

    def root(self, name: str, folder: Path) -> dict[str, Any]:
        """The tiny guest's."""
        return self.disk(name, folder, image={"source": str(self.image), "format": "qcow2"})

    def boot(self, name: str, folder: Path, **options: Any) -> str:
        """A guest on host 1 that has booted; its address.

        A boot takes seconds of a processor. The first of a name is saved, and those after it go on from there, their disks being as new.
        """
        known = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
        card = {"network": "default", "mac": f"52:54:00:{known[:2]}:{known[2:4]}:{known[4:6]}"}
        given = {"name": name, "uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), "disks": [self.root(name, folder)], "networks": [card], **options}
        if set(options) - {"autostart", "location"}:
            # Another machine than the one that was saved.
            self.guest(1, **given, state="running")
            return self.booted(1, name)
        self.guest(1, **given, state="shutoff")
        saved = self.folder / f"{name}.saved"
        with self.opened(1) as connection:
            domain = connection.lookupByName(name)
            if not saved.exists():
                domain.create()
                self.booted(1, name)
                domain.save(str(saved))
            flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_MIGRATABLE
            connection.restoreFlags(str(saved), domain.XMLDesc(flags))
        return self.booted(1, name)

    @property
    def spaces(self) -> tuple[str, str]:
        """The names of the hosts' network namespaces."""
        return self.space("1"), self.space("2")

    def space(self, which: str) -> str:
        return f"pw-{hashlib.sha1(str(self.folder).encode(), usedforsecurity=False).hexdigest()[:8]}-{which}"

    def give_images(self) -> None:
        """The second host gets the images that the first one has cached."""
        own, other = (self.folder / str(host) / "local" / "state" / "images" for host in (1, 2))
        shutil.copytree(own, other)

    def clean(self) -> None:
        for host in (1, 2):
            with self.opened(host) as connection:
                for domain in connection.listAllDomains():
                    persistent = domain.isPersistent()
                    # A daemon that has just come back notices only then that a guest has ended.
                    with contextlib.suppress(libvirt.libvirtError):
                        domain.destroy()
                    if persistent:
                        domain.undefineFlags(EVERYTHING)
                for pool in connection.listAllStoragePools():
                    persistent = pool.isPersistent()
                    if pool.isActive():
                        pool.destroy()
                    if persistent:
                        pool.undefine()
        for folder in (self.shared, self.folder / "1" / "local", self.folder / "2" / "local"):
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


@pytest.fixture(scope="session")
def hosts() -> Iterator[Pair]:
    assert TINY.exists(), f"there is no {TINY}: run make lab-up"
    # Sockets have short names.
    pair = Pair(Path(tempfile.mkdtemp(prefix="pw-pair-")), TINY)
    try:
        pair.up()
        yield pair
    finally:
        pair.lab("down", str(pair.folder))


@pytest.fixture
def pair(hosts: Pair) -> Iterator[Pair]:
    yield hosts
    hosts.repair()
    hosts.clean()
