#!/usr/bin/env python3
"""Turn what `binfmt-setup install` would write into stages of osbuild.

    binfmt-setup install linux/arm64 --root TREE --check --format json | ./osbuild.py

TREE is any tree with the image's systemd and QEMU; nothing is written there. What is printed goes
into a manifest: `sources` beside those that it has, `stages` to the end of the pipeline that makes
the image's tree.
"""

import base64
import hashlib
import json
import sys


def main() -> None:
    """Read the answer of the command, write sources and stages."""
    actions = json.load(sys.stdin)["actions"]
    files = {a["target"]: a["after"].encode() for a in actions if a["kind"] == "write-file"}
    units = sorted({a["after"].rpartition("/")[2] for a in actions if a["kind"] == "link"})
    names = {path: f"sha256:{hashlib.sha256(data).hexdigest()}" for path, data in files.items()}
    items = {
        names[path]: {"encoding": "base64", "data": base64.b64encode(data).decode()}
        for path, data in files.items()
    }
    folders = sorted({path.rpartition("/")[0] for path in files})
    stages = [
        {
            "type": "org.osbuild.mkdir",
            "options": {"paths": [{"path": f, "parents": True, "exist_ok": True} for f in folders]},
        },
        {
            "type": "org.osbuild.copy",
            "inputs": {
                "files": {
                    "type": "org.osbuild.files",
                    "origin": "org.osbuild.source",
                    "references": sorted(items),
                }
            },
            "options": {
                "paths": [
                    {"from": f"input://files/{name}", "to": f"tree://{path}"}
                    for path, name in names.items()
                ]
            },
        },
        {
            "type": "org.osbuild.chmod",
            "options": {
                "items": {
                    path: {"mode": "0755" if data.startswith(b"#!") else "0644"}
                    for path, data in files.items()
                }
            },
        },
        {"type": "org.osbuild.systemd", "options": {"enabled_services": units}},
    ]
    made = {"sources": {"org.osbuild.inline": {"items": items}}, "stages": stages}
    sys.stdout.write(json.dumps(made, indent=2) + "\n")


main()
