"""Modules that are chosen by a name at run time: a format, an init, a topic of findings. Pure."""

from __future__ import annotations

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from types import ModuleType


def module_named(name: str) -> ModuleType:
    """The module of a whole name; raises ImportError for one that is not there.

    As importlib.import_module does it, which takes longer to load than what is loaded with it.
    """
    # Without a name to look for in it, the outermost package would be the answer.
    found: ModuleType = __import__(name, fromlist=("",))
    return found
