"""The ways in which a command can be stopped, each with its exit code.

Only the outermost function (`answer.ended`) turns one of these into an exit
status; everything below raises.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing is costly to import, and so are enums
if TYPE_CHECKING:
    from typing import Final


class ExitCode:
    """What the exit status of every command means; stable, part of the interface."""

    OK: Final = 0
    ANSWER_IS_NO: Final = 1
    USAGE: Final = 2
    PRIVILEGES: Final = 3
    ENVIRONMENT: Final = 4
    NO_EMULATOR: Final = 5
    OTHER_PROGRAM: Final = 6
    DEFECT: Final = 70
    # What shells give for a command that cannot be started; `run` alone has one.
    NOT_EXECUTABLE: Final = 126
    NOT_FOUND: Final = 127


class BinfmtSetupError(Exception):
    """Something stopped a command: what, why, and what to do about it.

    `message` says what happened and why, `hint` what the user can do; `code` is the
    finding code it is reported under in machine-readable output.
    """

    exit_code = ExitCode.DEFECT
    code = "defect"

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code:
            self.code = code


class UsageProblem(BinfmtSetupError):
    """The command line asks for something that does not exist or contradicts itself."""

    exit_code = ExitCode.USAGE
    code = "usage"


class PrivilegesMissing(BinfmtSetupError):
    """The command needs root (or rights that root lacks here)."""

    exit_code = ExitCode.PRIVILEGES
    code = "access-denied"


class EnvironmentUnfit(BinfmtSetupError):
    """This kernel, mount, namespace or file system cannot do what was asked."""

    exit_code = ExitCode.ENVIRONMENT
    code = "environment-unfit"


class NoEmulator(BinfmtSetupError):
    """There is no usable QEMU for a platform."""

    exit_code = ExitCode.NO_EMULATOR
    code = "interpreter-missing"


class OtherProgramFailed(BinfmtSetupError):
    """A program this tool relies on (package manager, systemctl, …) failed."""

    exit_code = ExitCode.OTHER_PROGRAM
    code = "other-program-failed"


class TookTooLong(OtherProgramFailed):
    """A program overran its time and was ended."""

    code = "program-timeout"


class Busy(OtherProgramFailed):
    """Another run of this tool holds the lock."""

    code = "busy"


class CommandNotExecutable(BinfmtSetupError):
    """What `run` was given may not be executed, or the kernel does not know its format."""

    exit_code = ExitCode.NOT_EXECUTABLE
    code = "command-not-executable"


class CommandNotFound(BinfmtSetupError):
    """There is no such command, or what it needs to start is not there."""

    exit_code = ExitCode.NOT_FOUND
    code = "command-not-found"
