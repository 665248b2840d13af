"""No init: a container or a CI job, where nothing survives."""

from __future__ import annotations

from binfmt_setup.boot.inits.interface import InitSystem


class NoInit(InitSystem):
    """Whatever runs as process 1, it starts no system."""

    name, words, in_json = "none", "no init", "none"
    writes = "nothing"


INIT = NoInit()
