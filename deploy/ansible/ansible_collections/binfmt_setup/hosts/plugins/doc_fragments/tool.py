# Copyright (c) the binfmt-setup authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the modules share."""

    DOCUMENTATION = r"""
options:
  platforms:
    description:
      - The platforms, in any usual spelling, for example V(linux/arm64), V(arm64), V(aarch64),
        V(arm/v7), or V(all).
      - Left out, those of the wish list count; without one the tool decides by its own rules, which
        the description of the module names.
      - An empty list is refused, so that a mistake in a variable never means all platforms.
    type: list
    elements: str
  config:
    description:
      - The wish list that is read where no platform is named.
      - The tool looks at C(/etc/binfmt-setup.toml) by itself.
    type: path
  executable:
    description:
      - The tool itself. Left out, C(binfmt-setup) is looked for in E(PATH), in the usual directories
        for administrators, and in C(/usr/local/bin).
    type: path
requirements:
  - binfmt-setup on the managed host
  - Python 3.10 or newer on the managed host, for binfmt-setup
author:
  - The binfmt-setup authors (!UNKNOWN)
"""
