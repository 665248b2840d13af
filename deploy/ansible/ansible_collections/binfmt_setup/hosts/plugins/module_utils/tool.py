# Copyright (c) the binfmt-setup authors
# SPDX-License-Identifier: MIT

"""The command lines of binfmt-setup and its JSON answer: all that the modules know of the tool."""

from __future__ import annotations

import json

SCHEMA_VERSION = 1
PLACES = ["/usr/local/bin"]
"""Where it is looked for beside PATH, which under sudo often lacks it."""
KEPT = ("platforms", "findings", "errors", "exit_code")
"""What of a document becomes a return value under its own name."""


class NoAnswer(Exception):
    """The tool gave no document that this collection reads."""


def install_words(wish, check):
    """The command line that reaches the state of a wish, or with check tells what it would do."""
    words = ["install"]
    switches = {
        "--check": check,
        "--no-persist": not wish["persist"],
        "--install-qemu": wish["install_qemu"],
        "--take-over": wish["take_over"],
        "--credentials": wish["credentials"] is True,
        "--no-credentials": wish["credentials"] is False,
        "--keep": wish["keep"] is True,
        "--no-keep": wish["keep"] is False,
    }
    words += [name for name, wanted in switches.items() if wanted]
    values = {"--qemu": wish["qemu"], "--qemu-sha256": wish["qemu_sha256"]}
    words += [name + "=" + value for name, value in values.items() if value is not None]
    return words + common_words(wish)


def uninstall_words(wish, check):
    """The command line that removes what install made for these platforms."""
    words = ["uninstall"]
    words += [name for name, wanted in {"--check": check, "--force": wish["force"]}.items() if wanted]
    return words + common_words(wish)


def check_words(wish):
    """The command line that asks whether platforms work."""
    return ["check"] + (["--strict"] if wish["strict"] else []) + common_words(wish)


def common_words(wish):
    """The end of each command line: the format, the wish list, the platforms.

    An empty value is a mistake in a variable, which the tool refuses; it never means the default.
    """
    words = ["--format=json"]
    if wish["config"] is not None:
        words.append("--config=" + wish["config"])
    return words + ["--"] + (wish["platforms"] or [])


def document(status, out, err):
    """What the tool answered; raises NoAnswer where that is not one of its documents."""
    try:
        found = json.loads(out)
        version = found["schema_version"]
        whole = found["exit_code"] == status
    except (ValueError, TypeError, KeyError):
        raise NoAnswer(
            "it gave no answer in JSON, and ended with status %d: %s" % (status, last_words(err))
        )
    if version != SCHEMA_VERSION:
        raise NoAnswer(
            "its answer has schema version %s, and this collection reads %d: "
            "use versions of both that fit" % (version, SCHEMA_VERSION)
        )
    if not whole:
        raise NoAnswer("it ended with status %d after its answer: %s" % (status, last_words(err)))
    return found


def last_words(err):
    """The end of what a program said on standard error."""
    return " ".join(err.strip().splitlines()[-5:]) or "it said nothing"


def causes(found):
    """Why the answer is no: what stopped the command, else what is wrong with the platforms."""
    return found["errors"] or [row for row in found["findings"] if row["severity"] == "error"]


def sentences(rows):
    """Messages with their hints: each message once, and each hint once, after the last it is for."""
    by_hint = {}
    for row in rows:
        messages = by_hint.setdefault(row["hint"], [])
        if row["message"] not in messages:
            messages.append(row["message"])
    return [
        "; ".join(messages) + (" -> " + hint if hint else "") for hint, messages in by_hint.items()
    ]


def failure(found):
    """Why the answer is no, with what to do."""
    rows = causes(found) or [row for row in found["findings"] if row["severity"] == "warning"]
    return "\n".join(sentences(rows)) or "it ended with status %d" % found["exit_code"]


def reason(found):
    """As `failure`; empty where the answer is yes."""
    return failure(found) if found["exit_code"] else ""


def warnings(found, expected):
    """What works and still wants attention, without the codes that the task asks for."""
    return sentences(
        row
        for row in found["findings"]
        if row["severity"] == "warning" and row["code"] not in expected
    )


def differences(actions):
    """The steps in the form that Ansible shows with --diff."""
    return [
        {
            "before_header": "%s (%s)" % (step["target"], step["kind"]),
            "after_header": "%s (%s)" % (step["target"], step["kind"]),
            "before": as_lines(step["before"]),
            "after": as_lines(step["after"]),
        }
        for step in actions
        if step["result"] in ("planned", "done")
    ]


def as_lines(text):
    """A text that ends with a newline, as Ansible compares lines; nothing is no line."""
    return text + "\n" if text and not text.endswith("\n") else text or ""


def results(found):
    """The return values that every module gives."""
    return {name: found[name] for name in KEPT}
