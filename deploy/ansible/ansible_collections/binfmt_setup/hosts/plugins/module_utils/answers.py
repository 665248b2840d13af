# Copyright (c) the binfmt-setup authors
# SPDX-License-Identifier: MIT

"""Asks the tool for a module of Ansible."""

from __future__ import annotations

from ansible_collections.binfmt_setup.hosts.plugins.module_utils import tool

COMMON = dict(
    platforms=dict(type="list", elements="str"),
    config=dict(type="path"),
    executable=dict(type="path"),
)
"""The options that all modules have."""


def ask(module, words):
    """The document that a command line is answered with; what is none fails the task."""
    if module.params["platforms"] == []:
        module.fail_json(msg="platforms is an empty list: name a platform, or leave it out")
    program = module.params["executable"]
    if program is None:
        program = module.get_bin_path("binfmt-setup", required=True, opt_dirs=tool.PLACES)
    try:
        return tool.document(*module.run_command([program] + words))
    except tool.NoAnswer as error:
        module.fail_json(msg="%s: %s" % (program, error))
