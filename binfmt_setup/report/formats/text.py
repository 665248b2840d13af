"""Text for people, readable at 80 columns and without colour."""

from __future__ import annotations

from binfmt_setup.report.formats.interface import OutputFormat
from binfmt_setup.report.result import ExplainResult, UnitResult
from binfmt_setup.report.text_report import text_report

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.report.formats.interface import Showing
    from binfmt_setup.report.result import Result


class Text(OutputFormat):
    """The format that nobody has to ask for."""

    name = "text"

    def report(self, result: Result, showing: Showing) -> str:
        """Facts, findings, remedies, and the verdict in the last line."""
        if isinstance(result, ExplainResult) and result.seen is not None:
            from binfmt_setup.report.explanation_text import explanation_text

            return explanation_text(result.seen, showing.style)
        if isinstance(result, UnitResult) and result.text:
            # As comments, so that the output is a unit file that systemd accepts.
            files = result.files.items()
            lines = (line for path, body in files for line in (path, *body.splitlines()))
            return "".join(f"# {line}\n" for line in lines) + result.text
        return text_report(result, showing.style, diff=showing.diff, quiet=showing.quiet)

    def failure(self, command: str, error: BinfmtSetupError) -> str:  # noqa: ARG002 - none
        """Nothing: people have read it on standard error."""
        return ""


FORMAT = Text()
