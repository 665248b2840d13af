"""What can be wrong with the files and units that the next boot reads."""

from __future__ import annotations

from binfmt_setup.diagnosis.catalogue.registry import (
    EntryShadowed,
    GloballyDisabled,
    NativeRegistered,
)
from binfmt_setup.diagnosis.finding import Fact, Risk

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.boot.lost import Lost
    from binfmt_setup.boot.survival import Late, NotMounted, NotRegistered
    from binfmt_setup.diagnosis.finding import Severity
    from binfmt_setup.model.registration import Registration


class NotPersistent(Risk):
    """An entry will not be there after a reboot."""

    code = "not-persistent"
    problem: Lost


class NothingPersists(NotPersistent):
    """What was just installed, all of it, will be gone."""


class SystemdBinfmtFailed(Risk):
    """systemd-binfmt ended failed: what it had yet to register is missing."""

    code = "systemd-binfmt-failed"
    unit: str


class DroppedAgain(Risk):
    """Another program drops entries as often as they are brought back: they are not any more."""

    code = "dropped-again"
    times: int


class NotKept(Risk):
    """The wish list asks for `keep`, and nothing brings entries back that are dropped."""

    code = "not-kept"


class NotThereAfterBoot(Risk):
    """A registration of ours that the last boot did not make."""

    code = NotPersistent.code
    trouble: NotMounted | NotRegistered


class UnitsReadOnly(Risk):
    """Units of ours cannot be written; what reads binfmt.d registers at boot, without them."""

    code = "units-read-only"
    directory: str

    @property
    def severity(self) -> Severity:
        """Every reboot brings the entries back."""
        return "info"


class BootOrder(Risk):
    """An entry is registered late in the boot, or is lost when a mount comes late."""

    code = "boot-order"
    late: Late
    interpreter: str

    @property
    def severity(self) -> Severity:
        """That ours waits for a mount is as it should be."""
        return "warning" if self.late.lost else "info"


class NotRegisteredInOrder(Risk):
    """A mount that did not come in time kept a registration of ours from the kernel."""

    code = BootOrder.code
    trouble: NotRegistered


class ConfigDiffers(Risk):
    """The next boot will register something else than the kernel has now."""

    code = "config-differs"
    config: str
    at_boot: Registration


class ConfigInvalid(Risk):
    """A line that registers nothing."""

    code = "config-invalid"
    path: str
    line: int
    problem: str
    text: str


class LineWithoutInterpreter(Risk):
    """A line with F whose program is not there, or is none (`unfit`): the kernel refuses it.

    `replaceable` says that an install writes a file of that name, which takes its place.
    """

    code = ConfigInvalid.code
    path: str
    line: int
    interpreter: str
    replaceable: bool = False
    unfit: bool = False


class NativeAtBoot(Fact):
    """The next boot registers an entry for the host's own programs: nothing starts then."""

    code = NativeRegistered.code
    entry: str
    path: str
    line: int


class SwitchedOffAtBoot(Risk):
    """A line of sysctl.d switches all entries off at every boot."""

    code = GloballyDisabled.code
    path: str
    line: int


class ShadowedAfterBoot(EntryShadowed):
    """The next boot puts another entry before the one that works now."""

    path: str
    line: int

    @property
    def severity(self) -> Severity:
        """It works until then."""
        return "warning"


class MoreInvalid(ConfigInvalid):
    """The rest of very many such lines; `line` is how many the file has."""

    more: int


class MoreFilesInvalid(MoreInvalid):
    """The rest of very many such files; `path` is the last."""
