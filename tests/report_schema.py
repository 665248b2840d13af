"""The JSON reports against the schema that the package ships.

The schema itself is checked once, here: to check it with each report took most of the time that
the cases needed.
"""

from __future__ import annotations

import json

from jsonschema import Draft202012Validator

from tests.own_namespace import TOP

SCHEMA = json.loads((TOP / "binfmt_setup" / "data" / "schema.json").read_text())
Draft202012Validator.check_schema(SCHEMA)
_VALIDATOR = Draft202012Validator(SCHEMA)


def assert_fits(document: object) -> None:
    """Raise ValidationError for a report that is not as the schema says."""
    _VALIDATOR.validate(document)


def assert_part_fits(part: dict[str, object]) -> None:
    """Raise ValidationError for some keys of a report that are not as the schema says."""
    told = {name: SCHEMA["properties"][name] for name in part}
    Draft202012Validator({"$defs": SCHEMA["$defs"], "properties": told}).validate(part)
