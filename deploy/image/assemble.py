"""Gather what the image consists of out of a Debian: what is needed of Python, QEMU, and the tool.

    assemble.py DEST TOOL TARGET…

DEST is the folder that becomes the image, TOOL the folder with the tool and its libraries, each
TARGET one of QEMU's. Of Python only modules that the tool can come to import are taken, compiled;
of packages only files, each with its package's licence and its entry in dpkg's list, so that
scanners of images know what is in there. Run by deploy/image/Containerfile, as root, in a Debian
with python3 and qemu-user or qemu-user-static; writes nothing outside of DEST.
"""

from __future__ import annotations

import json
import marshal
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import MAGIC_NUMBER, source_hash
from pathlib import Path

PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
STDLIB = Path(sysconfig.get_path("stdlib"))
TOOL, EMULATORS = "usr/lib/binfmt-setup", "usr/libexec/binfmt-setup"
LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64"}
EMPTY = ("dev", "etc", "host", "proc", "run", "sys", "tmp", "usr/lib64")
DYNAMIC = STDLIB / "lib-dynload"
IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import\b|import[ \t]+([\w.][\w., \t]*))", re.MULTILINE
)
NEVER = (
    *("distutils", "doctest", "ensurepip", "lib2to3", "pdb", "pydoc", "pydoc_data", "readline"),
    *("test", "tkinter", "unittest", "multiprocessing", "sqlite3", "curses", "dbm"),
)
"""What is imported to develop, at a prompt, or for what the tool does not do."""
SEED = (
    *("os", "io", "abc", "codecs", "encodings", "importlib", "zipimport", "stat", "traceback"),
    *("linecache", "runpy", "site"),
)


def run(*argv: str) -> str:
    """What a program prints."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


class Image:
    """The folder that is filled, and which files of this Debian went into it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.taken: set[str] = set()
        for name in EMPTY:
            (top / name).mkdir(parents=True, exist_ok=True)
        for name, target in LINKS.items():
            (top / name).symlink_to(target)

    def take(self, path: Path, at: str = "") -> None:
        """Copy a file of this Debian, to its own place or another; links are followed."""
        real = path.resolve()
        where = self.top / (at or str(real).lstrip("/"))
        self.taken.add(str(real))
        if not where.exists():
            where.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(real, where)

    def compile(self, source: Path, at: str) -> None:
        """Compile a module, whose source stays out."""
        where = self.top / at
        where.parent.mkdir(parents=True, exist_ok=True)
        content = source.read_bytes()
        code = compile(content, f"/{Path(at).with_suffix('.py')}", "exec", dont_inherit=True)
        # Read and written once more: what an object was referred by while compiling, is forgotten.
        data = marshal.dumps(marshal.loads(marshal.dumps(code)))
        # PEP 552, unchecked: the source's time is no part of what is built.
        header = MAGIC_NUMBER + (1).to_bytes(4, "little") + source_hash(content)
        where.write_bytes(header + data)


def needed_modules(tool: Path) -> set[Path]:
    """The files of Python's own modules that something in the tool imports, however far away.

    Of a package all modules beside the one that is named, as it may import them relatively.
    """
    found: set[Path] = set()
    names = [*SEED, *(name for file in tool.rglob("*.py") for name in imported_by(file))]
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name in seen or name.partition(".")[0] in NEVER:
            continue
        seen.add(name)
        files = {file for file in files_of(name) if file not in found}
        found |= files
        names += [more for file in files if file.suffix == ".py" for more in imported_by(file)]
        names += [name.rpartition(".")[0]] if "." in name else []
    return found


def imported_by(file: Path) -> set[str]:
    """The modules that a source names in its import statements; a few too many do no harm."""
    found = set()
    for come_from, plain in IMPORT.findall(file.read_text("utf-8", "replace")):
        words = [come_from] if come_from else [word.split()[0] for word in plain.split(",") if word]
        found |= {word for word in words if not word.startswith(".")}
    return found


def files_of(name: str) -> list[Path]:
    """A module's file, or a package's; none for what is not Python's own, or built in."""
    place = STDLIB.joinpath(*name.split("."))
    if place.is_dir():
        return list(place.glob("*.py"))
    return [*place.parent.glob(f"{place.name}.py"), *DYNAMIC.glob(f"{name}.*.so")]


def libraries_of(*programs: Path) -> set[Path]:
    """The shared libraries of dynamic programs, and their loader."""
    lines = run("ldd", *map(str, programs)).splitlines()
    words = (word for line in lines for word in line.replace("=>", " ").split())
    return {Path(word) for word in words if word.startswith("/") and not word.endswith(":")}


def take_python(image: Image, tool: Path) -> None:
    """The interpreter, the modules that are needed, and the libraries of both."""
    binary = Path(f"/usr/bin/{PYTHON}")
    image.take(binary)
    (image.top / "usr/bin/python3").symlink_to(PYTHON)
    extensions = []
    for file in sorted(needed_modules(tool)):
        inside = f"usr/lib/{PYTHON}/{file.relative_to(STDLIB)}"
        if file.suffix == ".py":
            image.compile(file, f"{inside}c")
            image.taken.add(str(file.resolve()))
        else:
            image.take(file, inside)
            extensions.append(file)
    for library in sorted(libraries_of(binary, *extensions)):
        # As it is asked for: by the name of its interface, in the folder of its architecture.
        folder = library.parent.resolve()
        image.take(library, f"{folder}/{library.name}".lstrip("/"))
    loader = next(lib for lib in libraries_of(binary) if lib.name.startswith("ld-linux"))
    if loader.parent.name == "lib64":
        (image.top / "usr/lib64" / loader.name).unlink(missing_ok=True)
        image.take(loader, f"usr/lib64/{loader.name}")
    elif not (image.top / "usr/lib" / loader.name).exists():
        image.take(loader, f"usr/lib/{loader.name}")


def take_tool(image: Image, tool: Path, here: Path) -> None:
    """The tool with its libraries, compiled, and what starts it."""
    for file in sorted(tool.rglob("*")):
        inside = f"{TOOL}/{file.relative_to(tool)}"
        if file.suffix == ".py":
            image.compile(file, f"{inside}c")
        elif file.is_file() and file.suffix != ".pyc":
            (image.top / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, image.top / inside)
    shutil.copy(here / "binfmt", image.top / "usr/bin/binfmt")
    (image.top / "usr/bin/binfmt").chmod(0o755)
    (image.top / "usr/bin/binfmt-setup").symlink_to("binfmt")


def take_emulators(image: Image, targets: list[str]) -> None:
    """QEMU for each target but the image's own, under one name wherever it came from."""
    own = os.uname().machine
    for target in targets:
        names = [f"/usr/bin/qemu-{target}-static", f"/usr/bin/qemu-{target}"]
        found = next((Path(name) for name in names if Path(name).exists()), None)
        if target == own:
            continue
        if found is None:
            sys.exit(f"assemble: there is no QEMU for {target}: {' nor '.join(names)}")
        image.take(found, f"{EMULATORS}/qemu-{target}")


def packages_of(taken: set[str]) -> list[str]:
    """The packages that the files came from, with their architecture where dpkg says it."""
    # Some packages still have files in /lib that lie in /usr/lib.
    names = sorted({*taken, *(name.removeprefix("/usr") for name in taken)})
    done = subprocess.run(["dpkg", "-S", *names], capture_output=True, text=True, check=False)
    found = {line.partition(": ")[0] for line in done.stdout.splitlines()}
    return sorted(name for names in found for name in names.split(", ") if " " not in name)


def take_notices(image: Image, packages: list[str]) -> list[dict[str, str]]:
    """Licences and dpkg's entries of the packages; what is said of them in the SBOM."""
    rows = []
    for package in packages:
        name = package.partition(":")[0]
        copyright_file = Path(f"/usr/share/doc/{name}/copyright")
        if copyright_file.exists():
            image.take(copyright_file, str(copyright_file).lstrip("/"))
        status = run("dpkg-query", "--status", package)
        where = image.top / "var/lib/dpkg/status.d" / name
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(status, encoding="utf-8")
        fields = dict(line.split(": ", 1) for line in status.splitlines() if ": " in line[:40])
        rows.append({key: fields.get(key, "") for key in ("Package", "Version", "Architecture")})
    image.take(Path("/etc/os-release"), "usr/lib/os-release")
    (image.top / "etc/os-release").symlink_to("../usr/lib/os-release")
    return rows


def bill_of_materials(debian: list[dict[str, str]], tool: Path, version: str) -> dict[str, object]:
    """What is in the image, as CycloneDX 1.5 has it; nothing in it depends on when it was made."""
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text("utf-8").splitlines()
    )
    distro = f"{release['ID']}-{release.get('VERSION_ID', '').strip(chr(34))}"
    components = [
        {
            "type": "library", "name": row["Package"], "version": row["Version"],
            "purl": f"pkg:deb/debian/{row['Package']}@{row['Version']}"
            f"?arch={row['Architecture']}&distro={distro}",
        }
        for row in debian
    ]  # fmt: skip
    for info in sorted(tool.glob("*.dist-info")):
        name, _, number = info.name.removesuffix(".dist-info").rpartition("-")
        name = name.replace("_", "-").lower()
        components.append({"type": "library", "name": name, "version": number,
                           "purl": f"pkg:pypi/{name}@{number}"})  # fmt: skip
    root = {"type": "container", "name": "binfmt-setup", "version": version}
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
            "metadata": {"component": root}, "components": components}  # fmt: skip


def version_of(tool: Path) -> str:
    """The tool's own version, read and not imported."""
    text = (tool / "binfmt_setup" / "__init__.py").read_text(encoding="utf-8")
    return text.partition('__version__ = "')[2].partition('"')[0]


def main() -> None:
    """Fill the folder."""
    image, tool = Image(Path(sys.argv[1])), Path(sys.argv[2])
    take_python(image, tool)
    take_tool(image, tool, Path(__file__).resolve().parent)
    take_emulators(image, sys.argv[3:])
    rows = take_notices(image, packages_of(image.taken))
    bill = image.top / "usr/share/sbom/binfmt-setup.cdx.json"
    bill.parent.mkdir(parents=True)
    text = json.dumps(bill_of_materials(rows, tool, version_of(tool)), indent=1, sort_keys=True)
    bill.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
