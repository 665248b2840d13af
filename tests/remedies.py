"""Which test carries out what a finding tells to do, or why no command cures it alone."""

from __future__ import annotations

CURED_IN = {
    "automount-only": "tests/sandbox/test_boot_files.py::"
    "test_what_is_told_of_an_automount_mounts_and_registers",
    "native-registered": "tests/sandbox/test_remedies.py::"
    "test_with_the_native_programs_caught_a_shell_of_roots_cures",
    "probe-timeout": "tests/sandbox/test_findings.py::test_an_interpreter_that_never_ends",
    "systemd-binfmt-failed": "tests/boot/test_boot.py::"
    "test_a_failed_systemd_binfmt_is_told_and_what_is_told_cures_it",
}
"""Those that are tried elsewhere than among the situations of tests/sandbox/test_remedies.py."""
NO_COMMAND_CURES = {
    "access-denied": "who keeps the file from being read or run has to be found out first",
    "binfmt-missing": "another kernel is needed",
    "caller-limit": "whoever starts this program has set the limit",
    "cpu-too-old": "another machine, or another emulator, is needed",
    "dropped-again": "what drops the entries has to be found first",
    "entry-unreadable": "what the kernel shows has to be looked at",
    "interpreter-unpackaged": "whose the file is only its owner knows",
    "kernel-too-old": "another kernel is needed",
    "not-probed": "nothing is known to be wrong",
    "not-read": "why the file cannot be read has to be looked at",
    "private-namespace": "it is said so that nobody takes the answer for the host's",
    "units-read-only": "the configuration that makes the units is elsewhere, as on NixOS",
}
"""What a finding shows in their place is nothing, or a command that looks."""
LOOKS = (("ls",), ("cat",), ("journalctl",), ("binfmt-setup", "check"))
"""How commands begin that change nothing."""
