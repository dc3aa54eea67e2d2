# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """A vCenter, and the account that comes to it."""

    DOCUMENTATION = r"""
options:
  hostname:
    description:
      - The name or address of the vCenter. It has to be a vCenter; a single ESXi host is refused.
      - If the value is not specified, the value of the environment variable E(VMWARE_HOST) is used.
    type: str
  port:
    description:
      - The TCP port of the vCenter.
      - If the value is not specified, the value of the environment variable E(VMWARE_PORT) is used.
    type: int
    default: 443
  username:
    description:
      - The account. Mutually exclusive with O(token).
      - If the value is not specified, the value of the environment variable E(VMWARE_USER) is used.
    type: str
  password:
    description:
      - The account's password. A refused one is never tried again, so that the account is not locked.
      - If the value is not specified, the value of the environment variable E(VMWARE_PASSWORD) is used.
    type: str
  token:
    description:
      - A bearer token of vCenter's single sign-on, a SAML assertion as XML, in place of O(username) and O(password).
      - If the value is not specified, the value of the environment variable E(VMWARE_TOKEN) is used.
    type: str
  validate_certs:
    description:
      - Whether the server's certificate has to be trusted. With V(false) anybody in between can read the password.
      - If the value is not specified, the value of the environment variable E(VMWARE_VALIDATE_CERTS) is used.
    type: bool
    default: true
  ca_path:
    description:
      - A file with the certificates, in PEM, of the authorities that are trusted. The default is what the system trusts.
      - If the value is not specified, the value of the environment variable E(VMWARE_CA_PATH) is used.
    type: path
  thumbprint:
    description:
      - The SHA-1, SHA-256 or SHA-512 thumbprint of the server's certificate, in hexadecimal digits with or without colons. It stands in for
        a trusted authority; with O(ca_path) as well, both have to hold.
      - If the value is not specified, the value of the environment variable E(VMWARE_THUMBPRINT) is used.
    type: str
  proxy_host:
    description:
      - An HTTP proxy on the way to the vCenter.
      - If the value is not specified, the value of the environment variable E(VMWARE_PROXY_HOST) is used.
    type: str
  proxy_port:
    description:
      - The proxy's TCP port.
      - If the value is not specified, the value of the environment variable E(VMWARE_PROXY_PORT) is used.
    type: int
    default: 8080
  datacenter:
    description:
      - The datacenter, by name or inventory path. It can be left out where there is only one.
      - If the value is not specified, the value of the environment variable E(VMWARE_DATACENTER) is used.
    type: str
requirements:
  - pyvmomi 8.0.3 or newer, below 9.1 on Python 3.9
"""
