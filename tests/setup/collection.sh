#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# collection.sh link|copy NAME: puts the checkout where Ansible looks for collections, and prints that collection's path.
#
#   link       .work/collections: a link to the checkout, for running and testing what is being edited
#   copy NAME  .work/build/NAME: a fresh copy of the files that git does not ignore, for ansible-test and the build

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

case "${1:-}" in
    link)
        collection="${WORK}/collections/ansible_collections/poolwright/virt"
        mkdir -p "$(dirname "${collection}")"
        ln -sfn ../../../.. "${collection}"
        ;;
    copy)
        [ "$#" -eq 2 ] || die "usage: collection.sh copy NAME"
        collection="${WORK}/build/$2/ansible_collections/poolwright/virt"
        command -v git >/dev/null || "${SETUP}/packages.sh" git
        rm -rf "${collection}"
        mkdir -p "${collection}"
        cd "${ROOT}"
        # Files that were deleted but are still in the index are left out.
        git ls-files -z --cached --others --exclude-standard --deduplicate |
            while IFS= read -r -d '' file; do [ ! -e "${file}" ] || printf '%s\0' "${file}"; done |
            tar --null -T - -cf - | tar -xf - -C "${collection}"
        # ansible-test asks git for the files; the checkout's would answer that all of .work/ is ignored.
        git init --quiet "${collection}"
        ;;
    *) die "usage: collection.sh link, or collection.sh copy NAME" ;;
esac
printf '%s\n' "${collection}"
