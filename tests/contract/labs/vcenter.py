# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The vCenter of the lab, from outside: started and stopped, asked what its clients did, and told what to do to them."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.endpoint import Credentials, Endpoint, Secret
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM
from ansible_collections.poolwright.virt.tests.contract.labs.base import LabFailed

SCRIPT = Path(__file__).parents[2] / "lab" / "vcenter.sh"


@dataclass(frozen=True)
class Calls:
    """What the server has counted since ``VCenter.forget_calls``."""

    methods: dict[str, int]
    total: int
    connections: int
    sessions: int  # open ones, whoever opened them

    def __getitem__(self, method: str) -> int:
        return self.methods.get(method, 0)


class VCenter:
    """A vCenter of one's own. It ends with this process at the latest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._datastores: dict[str, Path] = {}

    def start(self, *options: str) -> None:
        """:param options: of ``tests/lab/vcenter/main.go``.   :raises LabFailed: it does not start; the message says why."""
        done = subprocess.run(
            [str(SCRIPT), "up", str(self.folder), "-with", str(os.getpid()), *options], capture_output=True, text=True, timeout=3600, check=False
        )
        if done.returncode != 0:
            raise LabFailed(f"the vCenter for tests does not start: {done.stderr}")
        self.attach()

    def attach(self) -> None:
        """Take over one that another process has started in this folder."""
        where = json.loads((self.folder / "vcenter.json").read_text())
        self.host, self.port, self.user, self.password = str(where["host"]), int(where["port"]), str(where["user"]), str(where["password"])
        self._process = Path("/proc") / str(where["pid"]) / "exe"
        self.ca_path, self.govc_path = str(where["ca_path"]), str(where["govc"])
        self._control = urlsplit(str(where["control"])).path
        self._tls = ssl.create_default_context(cafile=self.ca_path)
        self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT  # see vcenter/tls.go
        # Kept: a case asks several times, and a connection costs both sides more than an answer.
        self._asking = http.client.HTTPSConnection(self.host, self.port, timeout=300, context=self._tls)

    def stop(self) -> None:
        """:raises LabFailed: it goes on."""
        self._asking.close()
        subprocess.run([str(SCRIPT), "down", str(self.folder)], capture_output=True, timeout=600, check=True)
        # One that has ended and that nobody collects has no program any more.
        if self._process.exists():
            raise LabFailed(f"the vCenter for tests still runs: {self._process}")

    def calls(self) -> Calls:
        return Calls(**self._ask("GET", "/calls"))

    def forget_calls(self) -> None:
        self._ask("DELETE", "/calls")

    def calm(self) -> None:
        """Forget all faults and all chaos."""
        self._ask("DELETE", "/chaos")

    def fault(self, method: str, fault: str, *, times: int = 1, skip: int = 0) -> None:
        """Answer these calls with a fault; ``times`` 0 is all of them."""
        self._ask("POST", "/faults", {"method": method, "fault": fault, "times": times, "skip": skip})

    def chaos(self, method: str, action: str, **rule: Any) -> None:
        """See ``tests/lab/vcenter/control.go``."""
        self._ask("POST", "/chaos", {"method": method, "action": action, **rule})

    def expire_sessions(self) -> None:
        self._ask("POST", "/sessions/expire")

    def vim(self, *, password: str = "", clock: Clock | None = None, stats: Stats | None = None, **endpoint: Any) -> VIM:
        """A new session, not logged in yet; keywords change the endpoint."""
        clock = clock or Clock()
        where = Endpoint(**{"host": self.host, "port": self.port, "ca_path": self.ca_path, **endpoint})
        return VIM(where, Credentials(self.user, Secret(password or self.password)), clock, stats or Stats(clock), operations="test")

    def datastore(self, name: str) -> Path:
        """The directory of this machine in which it keeps a datastore."""
        if name not in self._datastores:
            with self.vim() as vim:
                found = [one.properties for one in vim.get_objects("Datastore", ["name", "summary.url"])]
            self._datastores = {str(one["name"]): Path(str(one["summary.url"])) for one in found}
        return self._datastores[name]

    def govc(self, *arguments: str) -> str:
        """What VMware's own client says."""
        settings = {
            "GOVC_URL": f"https://{self.host}:{self.port}/sdk",
            "GOVC_USERNAME": self.user,
            "GOVC_PASSWORD": self.password,
            "GOVC_TLS_CA_CERTS": self.ca_path,
            # It logs out each time: a session that stays open is one that the collection has left.
            "GOVC_PERSIST_SESSION": "false",
        }
        done = subprocess.run(
            [self.govc_path, *arguments], env={**os.environ, **settings}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"govc {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def _ask(self, method: str, path: str, what: Any = None) -> Any:
        body = None if what is None else json.dumps(what)
        with self._lock:
            try:
                self._asking.request(method, self._control + path, body)
                answer = self._asking.getresponse()
                said = answer.read()
            except BaseException:  # whatever it is, goes on: what is left on the connection would be taken for the next answer
                self._asking.close()
                raise
        assert answer.status == 200, f"{method} {path}: {said.decode()}"
        return json.loads(said) if said else None
