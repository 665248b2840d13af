#!/usr/bin/python
# Copyright (c) the binfmt-setup authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: binfmt_info
short_description: Ask whether programs of foreign architectures run on a host
version_added: 0.1.0
description:
  - Runs a small program of each platform, and tells whether it runs, by what, and whether it will
    after a reboot.
  - A platform that does not work does not fail the task, it makes RV(ok) false. The task fails
    only where the question could not be put.
  - Without O(platforms) and without a wish list, it asks for what is registered on the host, now
    or at the next boot; where nothing is, for all that the host has an emulator for.
extends_documentation_fragment:
  - binfmt_setup.hosts.tool
attributes:
  check_mode:
    description: It changes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: N/A
  platform:
    description: Linux 4.8 or newer.
    platforms: linux
    support: full
options:
  strict:
    description:
      - Warnings make RV(ok) false as well.
    type: bool
    default: false
notes:
  - It needs no root; what cannot be read without, is unknown.
seealso:
  - module: binfmt_setup.hosts.binfmt
"""

EXAMPLES = r"""
- name: Ask whether this host can build for arm64
  binfmt_setup.hosts.binfmt_info:
    platforms: [linux/arm64]
  register: foreign

- name: Leave hosts out that cannot
  ansible.builtin.meta: end_host
  when: not foreign.ok
"""

RETURN = r"""
ok:
  description: Whether all of the platforms work.
  returned: always
  type: bool
  sample: true
reason:
  description: Why they do not, with what to do; empty where they do.
  returned: always
  type: str
  sample: ""
platforms:
  description: Each platform, and whether it works.
  returned: always
  type: list
  elements: dict
  contains:
    platform:
      description: Its name.
      type: str
    target:
      description: What QEMU calls it.
      type: str
    ok:
      description: Whether its probe ran, and nothing of severity error was found.
      type: bool
    how:
      description: V(native), V(emulated) or V(none).
      type: str
    handler:
      description: The entry that the kernel picks, or none.
      type: dict
    persistent:
      description: Whether it is back after a reboot; none where that is not known.
      type: bool
    findings:
      description: What was found about it.
      type: list
      elements: dict
entries:
  description: Each entry of the registry, whoever made it.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    enabled:
      description: Whether it is switched on.
      type: bool
    interpreter:
      description: The program that is started for files it matches.
      type: str
    flags:
      description: Its flags.
      type: str
    owner:
      description: Who made it.
      type: str
    persistent:
      description: Whether it is back after a reboot.
      type: bool
    pinned_version:
      description: The version of QEMU that the kernel holds open.
      type: str
findings:
  description: All that was found, each with its code, severity, message, evidence and remedy.
  returned: always
  type: list
  elements: dict
errors:
  description: What kept the question from being put, each with its code, message and hint.
  returned: always
  type: list
  elements: dict
host:
  description: The kernel, distribution, init and container that were seen.
  returned: always
  type: dict
exit_code:
  description: The exit code of the tool.
  returned: always
  type: int
  sample: 0
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.binfmt_setup.hosts.plugins.module_utils import answers, tool

NO = 1
"""The exit code of an answer that is no; higher ones mean that there is none."""


def main():
    """Ask, and tell."""
    module = AnsibleModule(
        argument_spec=dict(answers.COMMON, strict=dict(type="bool", default=False)),
        supports_check_mode=True,
    )
    found = answers.ask(module, tool.check_words(module.params))
    values = dict(tool.results(found), ok=found["ok"], entries=found["entries"], host=found["host"])
    if found["exit_code"] > NO:
        module.fail_json(msg=tool.failure(found), **values)
    module.exit_json(changed=False, reason=tool.reason(found), **values)


if __name__ == "__main__":
    main()
