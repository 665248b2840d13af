"""What is called invalid in a binfmt.d file is what the kernel refuses, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from binfmt_setup.model.registration import BadRegistration, parse_line

if TYPE_CHECKING:
    from tests.sandbox.conftest import Sandbox

REGISTRY = "/proc/sys/fs/binfmt_misc"
REFUSED = {
    "one digit": r":x:M::\x4::/bin/true:",
    "no digits": r":x:M::\xZZ::/bin/true:",
    "no digits in the mask": r":x:M::\x41:\xg0:/bin/true:",
    "the end of a field": r":x:M::\x41\x::/bin/true:",
    "digits of another script": ":x:M:\u0663:\\x41::/bin/true:",
    "a negative offset": r":x:M:-1:\x41::/bin/true:",
    "two newlines": ":x:M::\\x41::/bin/true:\n\n",
}
TAKEN = {
    "two digits": r":x:M::\x4f::/bin/true:",
    "an offset with a sign": r":x:M:+1:\x41::/bin/true:",
    "a zero below zero": r":x:M:-0:\x41::/bin/true:",
    "letters": ":x:M::MZ::/bin/true:",
    "one newline": ":x:M::\\x41::/bin/true:\n",
}


def is_valid(line: str) -> bool:
    try:
        parse_line(line)
    except BadRegistration:
        return False
    return True


@pytest.mark.parametrize("name", [*REFUSED, *TAKEN])
def test_a_line_is_valid_where_the_kernel_takes_it(system: Sandbox, name: str) -> None:
    line = {**REFUSED, **TAKEN}[name]
    done = system.run("sh", "-c", f"cat > {REGISTRY}/register", stdin=line)
    assert (done.returncode == 0) is (name in TAKEN), done.stderr
    assert is_valid(line) is (name in TAKEN)


def test_a_nul_byte_is_refused_as_systemd_does() -> None:
    """The kernel would take it, and stop at it: then it catches far more than was meant."""
    assert not is_valid(":x:M::\x7fELF\x02\x01\x01\0\0:\\xff:/bin/true:")
