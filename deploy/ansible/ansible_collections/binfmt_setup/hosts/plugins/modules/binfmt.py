#!/usr/bin/python
# Copyright (c) the binfmt-setup authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: binfmt
short_description: Make programs of foreign architectures run on a host
version_added: 0.1.0
description:
  - Brings a host to the state in which programs of the named platforms run, in containers and
    chroots too, now and after each reboot, by way of the command C(binfmt-setup).
  - A platform counts as reached only after a small program of it was run.
  - Changes only what differs. What other programs registered stays.
  - Without O(platforms) and without a wish list, O(state=present) takes every container platform
    that the host has an emulator for and does not run by itself, and O(state=absent) removes all
    that the tool has made.
extends_documentation_fragment:
  - binfmt_setup.hosts.tool
attributes:
  check_mode:
    description: Predicts what would change, by the code that would change it.
    support: full
  diff_mode:
    description: Shows each step, with the state before it and after it.
    support: full
  platform:
    description: Linux 4.8 or newer.
    platforms: linux
    support: full
options:
  state:
    description:
      - V(present) makes the platforms run.
      - V(absent) removes exactly what V(present) has made for them.
    type: str
    choices: [present, absent]
    default: present
  qemu:
    description:
      - Where QEMU comes from, as a directory or an archive on the managed host, or an image as
        V(image:REFERENCE).
      - Only with O(state=present), as all options below but O(force).
    type: str
  qemu_sha256:
    description:
      - The SHA-256 that the archive or image of O(qemu) must have.
    type: str
  credentials:
    description:
      - With V(true) set-user-ID programs work under emulation (the flag C), at the price that every
        user of the host can become root.
      - V(false) takes the flag away. Left out, it stays as it was chosen before.
    type: bool
  persist:
    description:
      - Whether the registrations come back at boot.
      - With V(false) nothing is written for the boot; what was written before stays.
    type: bool
    default: true
  keep:
    description:
      - Whether entries come back at once when another program drops them at run time, by a unit
        of systemd.
      - Left out, it stays as it was chosen before.
    type: bool
  install_qemu:
    description:
      - Install the package of QEMU with the package manager of the host where it is missing.
    type: bool
    default: false
  take_over:
    description:
      - Replace what another tool registered, even if that works.
    type: bool
    default: false
  force:
    description:
      - With O(state=absent), remove an entry even while programs run under it.
    type: bool
    default: false
notes:
  - It needs root, which O(ignore:become) gives.
  - A warning of the tool becomes a warning of the task, but for that about O(credentials) where
    the task asks for them.
seealso:
  - module: binfmt_setup.hosts.binfmt_info
"""

EXAMPLES = r"""
- name: Let this host build for arm64 and riscv64
  binfmt_setup.hosts.binfmt:
    platforms:
      - linux/arm64
      - linux/riscv64
    install_qemu: true
  become: true

- name: Reach what /etc/binfmt-setup.toml wishes
  binfmt_setup.hosts.binfmt:
  become: true

- name: Take QEMU from an archive that is there, and from no other
  binfmt_setup.hosts.binfmt:
    platforms: [linux/arm64]
    qemu: /srv/qemu/qemu-user-static.deb
    qemu_sha256: "{{ qemu_archive_sha256 }}"
  become: true

- name: Take back all that the tool has made
  binfmt_setup.hosts.binfmt:
    state: absent
  become: true
"""

RETURN = r"""
platforms:
  description: Each platform, and whether it works. In check mode as it is before the change.
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
  sample:
    - platform: linux/arm64
      target: aarch64
      ok: true
      how: emulated
      handler:
        name: qemu-aarch64
        interpreter: /usr/bin/qemu-aarch64-static
        flags: F
        pinned_version: ""
        disk_version: ""
      persistent: true
      findings: []
actions:
  description: Each step that was done, or in check mode would be.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: What is done, for example V(register), V(write-file), V(install-package).
      type: str
    target:
      description: To which entry, file or unit.
      type: str
    before:
      description: How it was; none where it was not there.
      type: str
    after:
      description: How it is; none where it is gone.
      type: str
    result:
      description: V(planned), V(done), V(unchanged), V(failed) or V(rolled-back).
      type: str
    error:
      description: What went wrong, or none.
      type: dict
findings:
  description: All that was found, each with its code, severity, message, evidence and remedy.
  returned: always
  type: list
  elements: dict
errors:
  description: What stopped the tool, each with its code, message and hint.
  returned: always
  type: list
  elements: dict
exit_code:
  description: The exit code of the tool.
  returned: always
  type: int
  sample: 0
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.binfmt_setup.hosts.plugins.module_utils import answers, tool


def main():
    """Reach the state, and tell what changed."""
    module = AnsibleModule(
        argument_spec=dict(
            answers.COMMON,
            state=dict(type="str", choices=["present", "absent"], default="present"),
            qemu=dict(type="str"),
            qemu_sha256=dict(type="str"),
            credentials=dict(type="bool"),
            persist=dict(type="bool", default=True),
            keep=dict(type="bool"),
            install_qemu=dict(type="bool", default=False),
            take_over=dict(type="bool", default=False),
            force=dict(type="bool", default=False),
        ),
        required_by={"qemu_sha256": "qemu"},
        supports_check_mode=True,
    )
    wish = module.params
    words = tool.install_words if wish["state"] == "present" else tool.uninstall_words
    found = answers.ask(module, words(wish, check=module.check_mode))
    values = dict(tool.results(found), changed=found["changed"], actions=found["actions"])
    if module._diff:
        values["diff"] = tool.differences(found["actions"])
    if found["exit_code"]:
        module.fail_json(msg=tool.failure(found), **values)
    if not module.check_mode:
        expected = ["credentials-flag"] if wish["credentials"] else []
        for sentence in tool.warnings(found, expected):
            module.warn(sentence)
    module.exit_json(**values)


if __name__ == "__main__":
    main()
