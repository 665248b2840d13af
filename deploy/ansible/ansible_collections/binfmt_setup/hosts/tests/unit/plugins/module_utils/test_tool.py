# Copyright (c) the binfmt-setup authors
# SPDX-License-Identifier: MIT

from __future__ import annotations

import json

import pytest

from ansible_collections.binfmt_setup.hosts.plugins.module_utils import tool

NOTHING = {
    "platforms": None, "config": None, "qemu": None, "qemu_sha256": None, "credentials": None,
    "persist": True, "keep": None, "install_qemu": False, "take_over": False, "force": False, "strict": False,
}


def wish(**given):
    return dict(NOTHING, **given)


def row(message, hint="", severity="error", code="x"):
    return {"message": message, "hint": hint, "severity": severity, "code": code}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, []),
        ({"persist": False}, ["--no-persist"]),
        ({"install_qemu": True}, ["--install-qemu"]),
        ({"take_over": True}, ["--take-over"]),
        ({"keep": True}, ["--keep"]),
        ({"keep": False}, ["--no-keep"]),
        ({"credentials": True}, ["--credentials"]),
        ({"credentials": False}, ["--no-credentials"]),
        ({"qemu": "-x", "qemu_sha256": "ab"}, ["--qemu=-x", "--qemu-sha256=ab"]),
        ({"qemu": "/q", "qemu_sha256": ""}, ["--qemu=/q", "--qemu-sha256="]),
    ],
)
def test_install(given, words):
    end = ["--format=json", "--", "linux/arm64"]
    assert tool.install_words(wish(platforms=["linux/arm64"], **given), check=False) == (
        ["install"] + words + end
    )


def test_check_mode_and_platforms_that_look_like_options():
    assert tool.install_words(wish(), check=True) == ["install", "--check", "--format=json", "--"]
    assert tool.uninstall_words(wish(force=True, platforms=["--force"]), check=True) == [
        "uninstall", "--check", "--force", "--format=json", "--", "--force",
    ]
    assert tool.check_words(wish(strict=True, config="/a")) == [
        "check", "--strict", "--format=json", "--config=/a", "--",
    ]
    assert tool.check_words(wish(config=""))[-2:] == ["--config=", "--"]


@pytest.mark.parametrize(
    ("status", "out", "said"),
    [
        (127, "", "status 127: it said nothing"),
        (1, "Traceback", "no answer in JSON"),
        (1, "[]", "no answer in JSON"),
        (0, json.dumps({"schema_version": 2, "exit_code": 0}), "schema version 2"),
        (-9, json.dumps({"schema_version": 1, "exit_code": 0}), "status -9 after its answer"),
    ],
)
def test_what_is_no_answer(status, out, said):
    with pytest.raises(tool.NoAnswer) as caught:
        tool.document(status, out, "")
    assert said in str(caught.value)


def test_a_message_and_a_hint_are_said_once():
    errors = [row("no emulator for a", "get it"), row("no emulator for b", "get it")]
    found = {"errors": errors + errors, "findings": [row("entry missing")], "exit_code": 5}
    assert tool.failure(found) == "no emulator for a; no emulator for b -> get it"


def test_what_is_found_is_the_cause_where_nothing_stopped():
    found = {
        "errors": [], "exit_code": 1,
        "findings": [row("broken", "mend"), row("odd", severity="warning")],
    }
    assert tool.failure(found) == "broken -> mend"
    found["findings"] = found["findings"][1:]
    assert tool.reason(found) == "odd"
    assert tool.reason(dict(found, exit_code=0)) == ""


def test_a_warning_that_was_asked_for_is_none():
    found = {"findings": [row("flag C", severity="warning", code="credentials-flag"), row("no")]}
    assert tool.warnings(found, ["credentials-flag"]) == []
    assert tool.warnings(found, []) == ["flag C"]


def test_steps_as_differences():
    steps = [
        {"kind": "register", "target": "a", "before": None, "after": ":a:", "result": "planned"},
        {"kind": "write-file", "target": "b", "before": "1\n", "after": None, "result": "done"},
        {"kind": "register", "target": "c", "before": "", "after": "", "result": "failed"},
    ]
    shown = [(d["before_header"], d["before"], d["after"]) for d in tool.differences(steps)]
    assert shown == [("a (register)", "", ":a:\n"), ("b (write-file)", "1\n", "")]
