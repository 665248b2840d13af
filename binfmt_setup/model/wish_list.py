"""The wish list of a host: what is asked for where a command line names no platform. Pure."""

from __future__ import annotations

import re
import sys

from binfmt_setup.model.errors import UsageProblem
from binfmt_setup.model.request import WishList

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Mapping


CODE = "wish-list-invalid"
_EXAMPLES = {
    "platforms": 'platforms = ["linux/arm64", "linux/riscv64"]',
    "qemu": 'qemu = "/opt/qemu"',
    "qemu-sha256": 'qemu-sha256 = "9f86d081884c7d65…"',
    "credentials": "credentials = false",
    "keep": "keep = true",
    "strict": "strict = true",
    "prefer": 'prefer = ["FEX-x86_64", "qemu-i386"]',
}
"""Every key, as it may be written down."""
_KINDS: dict[type, str] = {
    str: "a text", bool: "true or false", int: "a number", float: "a number", dict: "a table",
    list: "a list",
}  # fmt: skip


def parse_wish_list(text: str, path: str) -> WishList:
    """Read the file; raises UsageProblem, which names the file, the line and what is allowed."""
    data = _parsed(text, path)
    for key, value in data.items():
        _refuse_unfit(key, value, f"{path}{_line_of(key, text)}")
    return WishList(
        _texts(data.get("platforms")),
        str(data.get("qemu", "")),
        str(data.get("qemu-sha256", "")),
        _said(data.get("credentials")),
        data.get("strict") is True,
        _texts(data.get("prefer")),
        _said(data.get("keep")),
    )


def _said(value: object) -> bool | None:
    """Yes, no, or nothing said."""
    return value if isinstance(value, bool) else None


def _parsed(text: str, path: str) -> Mapping[str, object]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        found: dict[str, object] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageProblem(
            f"{path}: {error}",
            hint=f"the file is TOML; one line of it: {_EXAMPLES['platforms']}",
            code=CODE,
        ) from error
    return found


def _refuse_unfit(key: str, value: object, where: str) -> None:
    """Raises UsageProblem for a key that there is not, and for a value of another kind."""
    if key not in _EXAMPLES:
        raise UsageProblem(
            f"{where}: there is no key {key!r}",
            hint=f"the keys are {', '.join(_EXAMPLES)}",
            code=CODE,
        )
    if key in ("platforms", "prefer"):
        fits, wanted = bool(_texts(value)), "a list of one name or more"
    elif key in ("credentials", "keep", "strict"):
        fits, wanted = isinstance(value, bool), _KINDS[bool]
    else:
        fits, wanted = isinstance(value, str) and bool(value), "a text that is not empty"
    if key == "qemu" and isinstance(value, str):
        fits, wanted = value.startswith(("/", "image:")), "a path from / on, or image:REFERENCE"
    if not fits:
        given = "another list" if type(value) is list else _KINDS.get(type(value), "a date")
        raise UsageProblem(
            f"{where}: {key} must be {wanted}; it is {given}",
            hint=f"for example: {_EXAMPLES[key]}",
            code=CODE,
        )


def _texts(value: object) -> tuple[str, ...]:
    """The texts of a list; nothing of what is not a list of texts alone."""
    texts = (
        tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
    )
    return texts if isinstance(value, list) and len(texts) == len(value) else ()


def _line_of(key: str, text: str) -> str:
    """Where a key stands in the file; empty where it is written in some uncommon way."""
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*\[?[\"']?{re.escape(key)}[\"'\]\s=.]", line):
            return f":{number}"
    return ""
