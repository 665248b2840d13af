#!/usr/bin/python3 -I
"""The command: its own libraries first, then this release's."""

import sys

sys.path[:0] = ["/usr/lib/binfmt-setup", "/usr/lib/binfmt-setup/libraries"]

from binfmt_setup.__main__ import main

main()
