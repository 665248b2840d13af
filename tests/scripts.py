"""Scripts that have no suffix, as modules."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import TYPE_CHECKING

from tests.own_namespace import TOP

if TYPE_CHECKING:
    from types import ModuleType


def script(name: str) -> ModuleType:
    """A script of this project, which is not run: what it defines."""
    loader = SourceFileLoader(name.replace("-", "_"), str(TOP / "scripts" / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec
    module = module_from_spec(spec)
    sys.modules[loader.name] = module  # dataclasses look there
    loader.exec_module(module)
    return module
