# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

PROVIDER ?= libvirt
SECONDS ?= 600
setup := tests/setup
# What takes longest starts first; the rest of the folder comes after it.
longest := tests/integration/pool/test_debian_guest.py tests/integration/migration tests/integration/storage tests/integration/modules

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help quickstart quickstart-clean demo-evacuate test lint sanity sanity-floor unit unit-newest contract backends lvm integration vsphere floor molecule soak bench docs dev debian-guest lab-up lab-down clean

help: ## list what can be done here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quickstart: ## make a pool (PROVIDER=libvirt as root; PROVIDER=dummy or vsphere for simulated machines)
	@$(setup)/quickstart.sh up "$(PROVIDER)"

quickstart-clean: ## remove all that quickstart made, with any provider
	@$(setup)/quickstart.sh down

demo-evacuate: ## empty one of two KVM hosts that are started for it, as root or with sudo; takes everything back
	@$(setup)/demo_evacuate.sh

test: ## every stage below, one more at once than there are cores, and a table of what each found (as root, or with sudo)
	@$(setup)/gate.sh

lint: ## the static checks: style, types, docs, licences, changelog, build and import, ansible-lint
	@$(setup)/lint.sh

sanity: ## ansible-test sanity on the newest ansible-core
	@$(setup)/sanity.sh newest

sanity-floor: ## what of ansible-test sanity differs by version, on the oldest ansible-core
	@$(setup)/sanity.sh floor

unit: ## unit tests on the oldest Python
	@$(setup)/unit.sh oldest

unit-newest: ## unit tests on the newest Python: every test, with few of its cases
	@$(setup)/unit.sh newest

contract: lab-up ## every provider against its contract, each on the real thing
	@$(setup)/with.sh newest python -m pytest tests/contract --ignore tests/contract/imagebackend --lab dummy,libvirt_test,libvirt_qemu,vsphere -n 2

backends: lab-up ## image backends in files and on Ceph against their contract
	@$(setup)/with.sh newest python -m pytest tests/contract/imagebackend --backend flat,qcow2,rbd,ploop --table docs/backends.md -n 2 --dist worksteal

lvm: lab-up ## image backends on LVM against the same, in guests of their own
	@$(setup)/with.sh newest python -m pytest tests/contract/imagebackend --backend lvm,lvm_thin --table docs/backends.md

integration: lab-up ## modules, roles and playbooks on real guests and storage
	@$(setup)/with.sh newest python -m pytest $(longest) tests/integration --ignore tests/integration/vsphere -n 4 --dist loadfile --no-loadscope-reorder

vsphere: ## the same on a vCenter that counts calls and breaks them
	@$(setup)/packages.sh @unit
	@$(setup)/with.sh newest python -m pytest tests/integration/vsphere -n 2

floor: lab-up ## what involves Ansible, on the oldest ansible-core
	@$(setup)/with.sh floor python -m pytest tests/integration/modules tests/integration/roles -m "not any_core" -n 2 --dist loadfile

molecule: ## the roles' scenarios
	@$(setup)/molecule.sh

bench: ## measure, and write docs/performance.md
	@$(setup)/with.sh newest python tests/bench/run.py

docs: ## check the documentation and print where it is
	@$(setup)/lint.sh docs-check
	@ls docs README.md CONTRIBUTING.md

dev: ## make the environments for working on the code, and the link to the checkout
	@$(setup)/with.sh newest python --version

debian-guest: ## build the Debian guest's image, .work/lab/debian.qcow2
	@tests/lab/debian-guest-image.sh .work/lab/debian.qcow2

soak: lab-up ## the tests that draw their cases, with all of them and new seeds, for SECONDS
	@PYTHONPATH=.work/collections $(setup)/with.sh newest python -m ansible_collections.poolwright.virt.tests.setup.soak "$(SECONDS)"

lab-up: ## start libvirtd, its default network and Ceph, and make the tiny guest image
	@tests/lab/lab up

lab-down: ## stop the lab
	@tests/lab/lab down

clean: lab-down ## stop the lab and remove all that was generated
	@rm -rf .work .ansible tests/output *.tar.gz
