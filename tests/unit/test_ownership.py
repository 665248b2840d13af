"""Whose an entry is: one answer, from the files that register it at boot."""

from __future__ import annotations

import pytest

from binfmt_setup.diagnosis.ownership import owner_of
from binfmt_setup.model.binfmt_d import MARKER, parse_config
from binfmt_setup.model.boot_facts import BootFacts
from binfmt_setup.model.facts import HostFacts, ProcessFacts
from binfmt_setup.model.records import replace
from binfmt_setup.model.registration import Entry, Registration
from binfmt_setup.model.registry_facts import RegistryFacts
from binfmt_setup.model.targets import target_named

TARGET = target_named("aarch64")
RULE = Registration(TARGET.entry_name, "/usr/bin/qemu", "OF", TARGET.magic, TARGET.mask)
OTHER = replace(RULE, flags="OCF")
ENTRY = Entry(RULE, enabled=True)
FILE = f"{TARGET.entry_name}.conf"


def host(path: str, rule: Registration, start: str = "") -> HostFacts:
    config = parse_config(path, f"{start}{rule.line}\n")
    return HostFacts("/", boot=BootFacts("systemd", configs=(config,)))


def keeping(rule: Registration | None) -> HostFacts:
    """A host where update-binfmts keeps a format of the entry's name."""
    imported = {} if rule is None else {ENTRY.name: rule}
    names = frozenset({ENTRY.name})
    return HostFacts(
        "/",
        boot=BootFacts(
            "systemd", update_binfmts=names, imported=imported, update_binfmts_runs=True
        ),
    )


OURS = f"{MARKER}\n"
CASES = {
    "no file": (HostFacts("/"), "unknown", False),
    "ours": (host(f"/etc/binfmt.d/{FILE}", RULE, OURS), "binfmt-setup", False),
    "ours, of something else": (host(f"/etc/binfmt.d/{FILE}", OTHER, OURS), "unknown", False),
    "of a package": (host(f"/usr/lib/binfmt.d/{FILE}", RULE), "distribution", True),
    "of a package, of something else": (host(f"/usr/lib/binfmt.d/{FILE}", OTHER), "unknown", False),
    "of an administrator": (host(f"/etc/binfmt.d/{FILE}", RULE), "administrator", False),
    "update-binfmts": (keeping(RULE), "update-binfmts", True),
    "update-binfmts, of something else": (keeping(OTHER), "unknown", False),
    "update-binfmts, with a detector": (keeping(None), "unknown", False),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_whose_an_entry_is(case: str) -> None:
    facts, name, by_distribution = CASES[case]
    owner = owner_of(facts, ENTRY)
    assert (owner.name, owner.by_distribution) == (name, by_distribution)
    assert owner.ours is (name == "binfmt-setup")
    assert bool(owner.config) is bool(facts.boot.configs)


def test_in_a_namespace_without_files_a_mark_tells() -> None:
    ours = host(f"/etc/binfmt.d/{FILE}", RULE, OURS)
    private = replace(
        ours,
        process=ProcessFacts(initial_namespace=False, own_files=False),
        registry=RegistryFacts(own=True),
    )
    assert not owner_of(private, ENTRY).ours
    marked = replace(private, registry=RegistryFacts(own=True, marked=frozenset({ENTRY.name})))
    assert owner_of(marked, ENTRY).ours


def test_a_name_that_is_not_the_one_of_its_target_is_never_ours() -> None:
    facts = host(f"/etc/binfmt.d/{FILE}", RULE, OURS)
    assert not owner_of(facts, Entry(replace(RULE, name="mine"), enabled=True)).ours
