"""The JSON document, whose schema ships as data/schema.json."""

from __future__ import annotations

from binfmt_setup.report import document
from binfmt_setup.report.formats.interface import OutputFormat

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.report.document import Json
    from binfmt_setup.report.formats.interface import Showing
    from binfmt_setup.report.result import Result


class JsonFormat(OutputFormat):
    """One object, complete on failure, too."""

    name = "json"

    def report(self, result: Result, showing: Showing) -> str:  # noqa: ARG002 - all, always
        """Everything a command found and did."""
        return _dumped(document.document(result))

    def failure(self, command: str, error: BinfmtSetupError) -> str:
        """The same shape, without a host."""
        return _dumped(document.failure(command, error))

    def prepare(self) -> None:
        """The library that writes it."""
        import json  # noqa: F401 - for `_dumped`


def _dumped(data: Json) -> str:
    import json

    return json.dumps(data, indent=2) + "\n"


FORMAT = JsonFormat()
