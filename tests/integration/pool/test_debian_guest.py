# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pool of Debian guests, as a user has it: made by a playbook, entered by ssh. Debian's own cloud-init reads the seed that the pool writes."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.tests.contract.labs.libvirt_base import ROOT
from ansible_collections.poolwright.virt.tests.contract.labs.libvirt_qemu import own_libvirtd
from ansible_collections.poolwright.virt.tests.contract.labs.own_libvirtd import NETWORK
from ansible_collections.poolwright.virt.tests.integration.modules.conftest import Ansible
from ansible_collections.poolwright.virt.tests.integration.pool.sites import Site, libvirt_site

BUILD = ROOT / "tests" / "lab" / "debian-guest-image.sh"
IMAGE = ROOT / ".work" / "lab" / "debian.qcow2"
POOL, GUESTS = "poolwright.virt.vm_pool", "poolwright.virt.libvirt_guest_info"
# Limits for a guest that never answers, far above what a busy machine takes.
BOOT_SECONDS = 1800.0
ANSWER_SECONDS = 600.0
GIB = 1024**3

USER_DATA = """#cloud-config
write_files:
  - path: /etc/build-farm/role
    content: |
      compiles what it is given
runcmd:
  - [sh, -c, 'hostname > /etc/build-farm/made-on']
"""
# The interface by its kind: nobody knows a machine's MAC address before it is made.
NETWORK_CONFIG = """version: 2
ethernets:
  primary:
    match: {{name: "e*"}}
    addresses: [{address}]
    routes: [{{to: 0.0.0.0/0, via: {gateway}}}]
"""
# Run by the guest's own Python.
FACTS = """
import json, os, pathlib, socket, subprocess
interfaces = json.loads(subprocess.check_output(["ip", "-json", "-4", "address", "show", "scope", "global"]))
disk = os.statvfs("/")
print(json.dumps({
    "hostname": socket.gethostname(),
    "addresses": [f"{one['local']}/{one['prefixlen']}" for interface in interfaces for one in interface.get("addr_info", [])],
    "files": {path.name: path.read_text() for path in pathlib.Path("/etc/build-farm").iterdir()},
    "root_bytes": disk.f_blocks * disk.f_frsize,
}))
"""


@dataclass(frozen=True)
class Login:
    """The way into a guest by ssh, for the image's default user."""

    key: Path
    address: str

    def run(self, *command: str, stdin: str = "") -> str:
        """The output of a command, which must succeed. A connection that fails is tried again: a busy guest may exceed ssh's own limits."""
        options = ["BatchMode=yes", "ConnectTimeout=60", "IdentitiesOnly=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
        ssh = ["ssh", "-F", "none", "-i", str(self.key), *(part for option in options for part in ("-o", option)), f"debian@{self.address}"]
        until = time.monotonic() + ANSWER_SECONDS
        while (done := subprocess.run([*ssh, *command], input=stdin, capture_output=True, text=True, check=False)).returncode == 255:
            assert time.monotonic() < until, done.stderr
            time.sleep(1)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def image() -> Path:
    """Built here unless an image is there that is newer than the script."""
    subprocess.run([BUILD, IMAGE], check=True)
    return IMAGE


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = libvirt_site(tmp_path)
    yield made
    made.lab.cleanup()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "user@workstation", "-f", path], check=True)
    return path


def lab_network() -> ipaddress.IPv4Interface:
    """The host's own address on the network of the guests, with that network."""
    (ip,) = ET.fromstring(own_libvirtd().virsh("net-dumpxml", NETWORK)).iterfind("ip")
    return ipaddress.IPv4Interface(f"{ip.get('address')}/{ip.get('netmask')}")


def ask_agent(name: str, command: str) -> Any:
    """The guest agent's answer; the agent is asked again until it gives one."""
    daemon = own_libvirtd()
    until = time.monotonic() + ANSWER_SECONDS
    while not (answer := daemon.virsh("qemu-agent-command", name, json.dumps({"execute": command}), check=False)):
        assert time.monotonic() < until, daemon.virsh("qemu-agent-command", name, json.dumps({"execute": command}))
        time.sleep(1)
    return json.loads(answer)["return"]


def test_a_debian_guest_is_as_its_pool_says(site: Site, image: Path, key: Path, tmp_path: Path) -> None:
    host = lab_network()
    address = f"{host.network.broadcast_address - 5}/{host.network.prefixlen}"
    pool = site.ci(
        1,
        image={"source": str(image)},
        memory_mb=512,
        disk={"size_gb": 2},
        hostname="build-{name}",
        ssh_keys=[key.with_suffix(".pub").read_text().strip()],
        user_data=USER_DATA,
        network_config=NETWORK_CONFIG.format(address=address, gateway=host.ip),
        ready={"check": "tcp", "port": 22, "timeout": BOOT_SECONDS, "grace": ANSWER_SECONDS},
    )
    task = {POOL: {**site.connection, "pools": [pool]}}
    ansible = Ansible(tmp_path)
    played = ansible.play(task)
    assert played.status == 0, played.output
    (made,) = played.results
    (machine,) = made["pools"]["ci"]["machines"]
    assert (made["changed"], machine["state"], machine["ip"]) == (True, "ready", address.partition("/")[0])

    guest = Login(key, machine["ip"])
    # sshd is up before cloud-init has finished.
    assert "status: done" in guest.run("cloud-init", "status", "--wait")
    facts = json.loads(guest.run("python3", "-", stdin=FACTS))
    assert facts["hostname"] == "build-ci-1"
    assert facts["addresses"] == [address]
    assert facts["files"] == {"role": "compiles what it is given\n", "made-on": "build-ci-1\n"}
    assert 1.75 * GIB < facts["root_bytes"] < 2 * GIB

    assert ask_agent("ci-1", "guest-get-host-name") == {"host-name": "build-ci-1"}
    read, again = ansible.play({GUESTS: {"uri": site.connection["uri"], "gather": ["agent"]}}, task).results
    assert [machine["ip"]] in [[one for one in found if ":" not in one] for found in read["guests"]["ci-1"]["agent_addresses"].values()]
    assert (again["changed"], again["actions"]) == (False, [])
    assert again["pools"]["ci"]["machines"] == made["pools"]["ci"]["machines"]
