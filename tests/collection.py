"""What the modules of the Ansible collection know of the tool, taken from its file.

Ansible itself is not needed for that; scripts/ansible-test runs the modules under it.
"""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from types import ModuleType

TOP = Path(__file__).resolve().parents[1]
COLLECTION = TOP / "deploy/ansible/ansible_collections/binfmt_setup/hosts"
NOTHING: dict[str, object] = {
    "platforms": None, "config": None, "qemu": None, "qemu_sha256": None, "credentials": None,
    "persist": True, "keep": None,
    "install_qemu": False, "take_over": False, "force": False, "strict": False,
}  # fmt: skip
"""The options of a task that names none."""


def tool() -> ModuleType:
    """The module_utils that write command lines and read answers."""
    path = COLLECTION / "plugins/module_utils/tool.py"
    spec = spec_from_file_location("collection_tool", path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def document(text: str) -> dict[str, object]:
    """A JSON object."""
    return cast("dict[str, object]", json.loads(text))
