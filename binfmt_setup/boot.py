"""What makes registrations survive a reboot: binfmt.d files and a systemd unit.

Pure: texts and verdicts only; `plan` turns the texts into steps and `apply` writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from binfmt_setup.facts import (
    MADE_DIRECTORY,
    MARKER,
    OWN_DIRECTORY,
    REPLACED,
    UNIT_NAME,
    VOLATILE_DIRECTORY,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.facts import HostFacts
    from binfmt_setup.registration import Registration
    from binfmt_setup.targets import Target

WANTED_BY = ("multi-user.target", "systemd-binfmt.service")
UNIT_LINKS = tuple(f"/etc/systemd/system/{unit}.wants/{UNIT_NAME}" for unit in WANTED_BY)
"""What `systemctl enable` would make of the unit's [Install] section."""
LINK_TEXT = f"../{UNIT_NAME}"
_TEMPLATE = "binfmt-setup.service.j2"
_DIGEST_LINE = "# Made from: "


def template_directory() -> Path:
    """Where the unit templates lie: in the package, or beside it in a checkout."""
    inside = Path(__file__).parent / "systemd"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "systemd"


def config_path(target: Target, *, volatile: bool = False) -> str:
    """The binfmt.d file for a target; the volatile one is gone after a reboot."""
    directory = VOLATILE_DIRECTORY if volatile else OWN_DIRECTORY
    return f"{directory}/{target.entry_name}.conf"


def config_text(
    registration: Registration, replaced: Registration | None, *, made_directory: bool = False
) -> str:
    """A binfmt.d file that systemd-binfmt and OpenRC read alike (its last line ends).

    Comments keep what uninstall needs to know.
    """
    lines = [MARKER]
    if made_directory:
        lines.append(MADE_DIRECTORY)
    if replaced is not None:
        lines.append(REPLACED + replaced.line)
    return "\n".join([*lines, registration.line, ""])


@dataclass(frozen=True)
class UnitInputs:
    """All that the unit's text depends on."""

    helper: str
    files: tuple[str, ...]
    mounts: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Tells whether an installed unit is up to date without rendering it anew."""
        import hashlib  # loads OpenSSL, which no command needs but those that write units

        template = (template_directory() / _TEMPLATE).read_bytes()
        return hashlib.sha256(template + repr(self).encode()).hexdigest()


def unit_inputs(facts: HostFacts, registrations: Sequence[Registration]) -> UnitInputs:
    """What a unit that registers these at boot needs to say."""
    files = sorted(f"{OWN_DIRECTORY}/{r.name}.conf" for r in registrations)
    places = {r.interpreter.rpartition("/")[0] for r in registrations}
    places |= {facts.interpreter(r.interpreter).real_path.rpartition("/")[0] for r in registrations}
    mounts = sorted(place for place in places if place)
    helper = facts.boot.systemd_binfmt or "/usr/lib/systemd/systemd-binfmt"
    return UnitInputs(helper, tuple(files), tuple(mounts))


def unit_is_current(text: str | None, inputs: UnitInputs) -> bool:
    """Whether an installed unit was made from the same inputs and template."""
    return text is not None and f"{_DIGEST_LINE}{inputs.digest}\n" in text


def render_unit(inputs: UnitInputs) -> str:
    """The unit's text."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_directory()),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - a unit file is not HTML; unit_word quotes for systemd
    )
    environment.filters["unit_word"] = unit_word
    return environment.get_template(_TEMPLATE).render(
        marker=MARKER,
        digest=inputs.digest,
        helper=inputs.helper,
        files=inputs.files,
        mounts=inputs.mounts,
    )


def unit_word(text: str) -> str:
    """One word of a unit file, quoted and escaped where systemd.syntax(7) asks for it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if set(text) & set(" \t;'\"\\") else escaped


def persistence_problem(facts: HostFacts, entry_name: str) -> str:
    """Why an entry will not be there after a reboot; empty when it will."""
    config = facts.config_of(entry_name)
    if config is None and entry_name in facts.update_binfmts:
        return ""  # binfmt-support.service registers it at boot, under any init of Debian's
    if config is None:
        return "no binfmt.d file registers it"
    if config.path.startswith(VOLATILE_DIRECTORY):
        return f"{config.path} is gone after a reboot"
    boot = facts.boot
    if boot.init == "systemd":
        return _systemd_problem(facts, owned=config.owned)
    if boot.init == "openrc":
        return "" if boot.openrc_enabled else "OpenRC's binfmt service is in no runlevel"
    return "no init that reads binfmt.d runs here"


def _systemd_problem(facts: HostFacts, *, owned: bool) -> str:
    boot = facts.boot
    if not boot.systemd_binfmt:
        return "this systemd comes without systemd-binfmt"
    enabled = boot.unit_text is not None and bool(boot.unit_links)
    if boot.systemd_binfmt_masked and not (owned and enabled):
        return "systemd-binfmt.service is masked"
    return ""
