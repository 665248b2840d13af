"""Where emulators that --qemu brought are kept, and what is written down about them.

Every source has a directory of its own, named after QEMU's version and the source's digest,
so that versions lie side by side and an entry names one of them for good:

    /usr/local/lib/binfmt-setup/qemu/10.0.13-ca6ede739327/qemu-aarch64
"""

from __future__ import annotations

from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.model.facts import version_pair
from binfmt_setup.model.records import NOTHING, Record
from binfmt_setup.model.shell import typed
from binfmt_setup.system.path_trust import trusted_owners

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from typing import IO

    from binfmt_setup.model.culprit import Culprit
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.system.host import Host


STORE = "/usr/local/lib/binfmt-setup/qemu"
MANIFEST = "binfmt-setup.json"
"""The file in each directory that says where its emulators come from; it marks ownership."""
UNFINISHED = ".new-"
"""How the names of directories begin that are yet to be filled, and to get their own."""
_SCHEMA = 1
_FILE = r"qemu-[a-z0-9_]+"
_SHA256 = r"[0-9a-f]{64}"


class Stored(Record):
    """One directory of emulators: source as the user gave it, its digest, SHA-256 by file.

    `made` lists the directories above that had to be made for it, `offered` the targets that the
    source has emulators for: those that were asked for are unpacked.
    """

    directory: str
    source: str
    digest: str
    version: str
    files: Mapping[str, str] = NOTHING
    made: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()

    def lacking(self, wanted: Collection[str] | None) -> frozenset[str]:
        """The targets among the wanted ones (None: all) that the source has more than this."""
        offered = frozenset(self.offered)
        asked = offered if wanted is None else offered & frozenset(wanted)
        return asked - {name.removeprefix("qemu-") for name in self.files}


def directory_name(version: str, digest: str) -> str:
    """The name of a source's directory: QEMU's version and the start of the digest."""
    import re

    found = re.match(r"\d+(\.\d+)*", version)
    return f"{found[0] if found else 'unknown'}-{digest.partition(':')[2][:12]}"


def manifest_text(stored: Stored) -> str:
    """What is written into the manifest."""
    import json

    data = {
        "schema_version": _SCHEMA,
        "source": stored.source,
        "digest": stored.digest,
        "version": stored.version,
        "files": dict(sorted(stored.files.items())),
        "made": list(stored.made),
        "offered": list(stored.offered),
    }
    return json.dumps(data, indent=2) + "\n"


def parse_manifest(directory: str, text: str) -> Stored | None:
    """Read a manifest; None when it is none that this tool wrote.

    Names in it are believed only as far as they are names of emulators: what is removed
    later is found by them.
    """
    import json
    import re

    try:
        data = json.loads(text)
        files = {str(name): str(value) for name, value in data["files"].items()}
        made = tuple(str(path) for path in data["made"])
        offered = tuple(str(name) for name in data.get("offered", ()))
        words = (str(data["source"]), str(data["digest"]), str(data["version"]))
        known = data["schema_version"] == _SCHEMA
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    named_well = all(re.fullmatch(_FILE, n) and re.fullmatch(_SHA256, v) for n, v in files.items())
    above = all(f"{directory}/".startswith(f"{path}/") and path.strip("/") for path in made)
    if not (known and named_well and above):
        return None
    return Stored(directory, *words, files, made, offered)


def stored_at(host: Host, directory: str) -> Stored | None:
    """What is written down about a directory; None when --qemu did not bring it.

    Where others can write, anybody may have written it: then it proves nothing.
    """
    where = f"{directory}/{MANIFEST}"
    text = host.text(where)
    if not text or _culprit_on(host, where) is not None:
        return None
    return parse_manifest(directory, text)


def _culprit_on(host: Host, path: str) -> Culprit | None:
    """What others than root, and whoever keeps emulators for himself, can change."""
    return host.path_judge(trusted_owners()).culprit(path)


def refuse_untrusted(host: Host, store: str) -> None:
    """Raises NoEmulator for a store in which others could put or change emulators."""
    culprit = _culprit_on(host, store)
    if culprit is not None:
        mend = f"run: {typed(culprit.command)}   (or keep" if culprit.command else "(keep"
        raise NoEmulator(
            f"no emulators are kept in {store}: {culprit.reason}",
            hint=f"{mend} them elsewhere. install: --qemu-store DIR; run: XDG_CACHE_HOME=DIR)",
            code="interpreter-writable",
        )


def everything_in(host: Host, store: str) -> Iterator[Stored]:
    """All that is kept in a store."""
    for name in host.names(store):
        stored = stored_at(host, f"{store}/{name}")
        if stored is not None and not name.startswith(UNFINISHED):
            yield stored


def find(host: Host, store: str, digest: str) -> Stored | None:
    """What was unpacked from the source of this digest, if it is there."""
    return next((s for s in everything_in(host, store) if s.digest == digest), None)


def made_for(host: Host, store: str) -> tuple[str, ...]:
    """The directories that were made for what is kept in a store already."""
    made = {path for stored in everything_in(host, store) for path in stored.made}
    return tuple(sorted(made))


def damaged(host: Host, stored: Stored) -> tuple[str, ...]:
    """The files of a directory that are not what was unpacked: changed, gone, or not 0755."""
    found = []
    for name, expected in stored.files.items():
        path = f"{stored.directory}/{name}"
        status = host.status_of(path)
        if (
            status is None
            or status.st_mode & 0o7777 != 0o755
            or file_digest(host, path) != expected
        ):
            found.append(name)
    return tuple(found)


def file_digest(host: Host, path: str) -> str:
    """The SHA-256 of a file; empty when it cannot be read."""
    try:
        with host.opened(path) as file:
            return content_digest(file)
    except OSError:
        return ""


def content_digest(file: IO[bytes], algorithm: str = "sha256") -> str:
    """The digest of what is still to be read of a file, in hexadecimal."""
    import hashlib

    digest = hashlib.new(algorithm)
    while piece := file.read(1024 * 1024):
        digest.update(piece)
    return digest.hexdigest()


def referenced(facts: HostFacts) -> frozenset[str]:
    """The directories that entries or binfmt.d files, or what uninstall puts back, point into."""
    paths: list[str] = [entry.interpreter for entry in facts.registry.entries]
    for config in facts.boot.configs:
        paths += [registration.interpreter for registration in config.registrations]
        paths += [config.replaced.interpreter] if config.replaced else []
    return frozenset(path.rpartition("/")[0] for path in paths)


def version_of(versions: Iterable[str]) -> str:
    """The newest of the versions that the emulators of one source say."""
    return max(versions, key=version_pair, default="")
