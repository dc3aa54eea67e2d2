# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two KVM hosts on one machine, and a guest that goes from one to the other."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.guests.spec import run_options, state_option
from ansible_collections.poolwright.virt.plugins.module_utils.migration.options import module_options

ROOT = Path(__file__).parents[3]
PAIR = ROOT / "tests" / "lab" / "kvm-pair.sh"
ON_HOST = Path(__file__).with_name("on_host.py")
GUEST_DEFAULTS = {key: option.get("default") for key, option in {**run_options(), **state_option()}.items()}
DEFAULTS = {key: option.get("default") for key, option in module_options().items()}
BOOT_SECONDS = 600.0
ASK = "import socket,sys; s=socket.create_connection((sys.argv[1],int(sys.argv[2])),30); print(s.makefile().read())"


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

    def on(self, host: object, *command: str, check: bool = True) -> str:
        done = subprocess.run([str(PAIR), "on", str(host), str(self.folder), *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def uri(self, host: int) -> str:
        return f"qemu+tcp://10.77.0.{host}/system"

    def virsh(self, host: int, *words: str, check: bool = True) -> str:
        socket = self.folder / str(host) / "run" / "libvirt-sock"
        command = ["virsh", "--quiet", "--connect", f"qemu+unix:///system?socket={socket}", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()

    # -- the modules' work

    def begin(self, host: int, work: str, point: int, params: dict[str, Any]) -> subprocess.Popen[str]:
        command = [str(PAIR), "on", str(host), str(self.folder), sys.executable, str(ON_HOST), work, str(point), json.dumps(params)]
        environment = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    def end(self, running: subprocess.Popen[str]) -> dict[str, Any]:
        """The result, ``killed`` where it was killed."""
        out, error = running.communicate(timeout=1800)
        if running.returncode in (-9, 137):
            return {"killed": True}
        assert running.returncode == 0, error
        found: dict[str, Any] = json.loads(out)
        return found

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
        return self.virsh(host, "domstate", name, check=False)

    def states(self, name: str) -> tuple[str, str]:
        """On both; "" where it is not there."""
        return self.state(1, name), self.state(2, name)

    def files(self, host: int, folder: str = "disks") -> list[str]:
        """In a directory of the host's own."""
        path = self.folder / str(host) / "local" / folder
        return sorted(str(one.relative_to(path)) for one in path.rglob("*") if one.is_file()) if path.exists() else []

    def pools(self, host: int) -> str:
        return self.virsh(host, "pool-list", "--all", "--name")

    def digest(self, host: int, path: str, format: str = "qcow2") -> str:
        """SHA-256 of what a guest sees of a disk, whether it runs or not."""
        script = f"f=$(mktemp -p {self.folder}) && qemu-img convert -U -f {format} -O raw {path} $f && sha256sum <$f; rm -f $f"
        return self.on(host, "bash", "-c", script).split()[0]

    def address(self, name: str, host: int = 1) -> str:
        mac = self.virsh(host, "domiflist", name).split()[-1]
        for line in (self.folder / "leases").read_text().splitlines():
            if line.split()[1] == mac:
                return line.split()[2]
        return ""

    def alive(self, address: str, seconds: float = BOOT_SECONDS) -> Alive:
        """What the guest says, asked from the hosts' network until it answers."""
        deadline = time.monotonic() + seconds
        while True:
            said = self.on("net", sys.executable, "-c", ASK, address, "23", check=False).split()
            if len(said) == 2:
                return Alive(said[0], float(said[1]))
            assert time.monotonic() < deadline, f"{address} does not answer"
            time.sleep(0.2)

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
        place = {"backend": "qcow2", "location": str(folder), "name": f"{name}_root", "image": {"source": str(self.image), "format": "qcow2"}}
        return {**place, **options}

    def boot(self, name: str, folder: Path, **options: Any) -> str:
        """A guest on host 1 that has booted; its address."""
        self.guest(1, name=name, disks=[self.disk(name, folder)], networks=[{"network": "default"}], state="running", **options)
        return self.booted(1, name)

    @property
    def spaces(self) -> tuple[str, str]:
        """The names of the hosts' network namespaces."""
        mark = hashlib.sha1(str(self.folder).encode(), usedforsecurity=False).hexdigest()[:8]
        return f"pw-{mark}-1", f"pw-{mark}-2"

    def give_images(self) -> None:
        """The second host gets the images that the first one has cached."""
        own, other = (self.folder / str(host) / "local" / "state" / "images" for host in (1, 2))
        shutil.copytree(own, other)

    def clean(self) -> None:
        for host in (1, 2):
            for name in self.virsh(host, "list", "--name").split():
                self.virsh(host, "destroy", name, check=False)
            for name in self.virsh(host, "list", "--all", "--name").split():
                self.virsh(host, "undefine", name, "--nvram", "--managed-save", "--snapshots-metadata", check=False)
            for name in self.pools(host).split():
                self.virsh(host, "pool-destroy", name, check=False)
                self.virsh(host, "pool-undefine", name, check=False)
        for folder in (self.shared, self.folder / "1" / "local", self.folder / "2" / "local"):
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    # Sockets have short names.
    folder = Path(tempfile.mkdtemp(prefix="pw-pair-"))
    image = tmp_path_factory.mktemp("image") / "tiny.qcow2"
    pair = Pair(folder, image)
    subprocess.run([str(ROOT / "tests" / "lab" / "tiny-guest-image.sh"), str(image)], check=True, capture_output=True)
    try:
        pair.lab("up", str(folder))
        yield pair
    finally:
        pair.lab("down", str(folder))


@pytest.fixture
def pair(hosts: Pair) -> Iterator[Pair]:
    hosts.lab("up", str(hosts.folder))
    yield hosts
    for host in (1, 2):
        hosts.lab("join", str(host), str(hosts.folder))
    hosts.lab("up", str(hosts.folder))
    hosts.clean()
