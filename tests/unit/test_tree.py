"""Nothing leads out of a tree given with --root: not for reading, writing, or removing.

Whoever owns the tree plants the links; all of it is tried with the kernel's own lookup
(openat2) and with the walk that stands in for it.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.emulators.store import Stored
from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.sources.unpack import unpacking
from binfmt_setup.system import beneath
from binfmt_setup.system.host import Host
from binfmt_setup.system.tree import Tree
from tests.own_namespace import PROBES, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NATIVE = {"x86_64": "x86_64", "aarch64": "aarch64"}.get(os.uname().machine, "x86_64")
WAYS = {"openat2": beneath.by_kernel, "walk": beneath.walk}
OUT = {
    "absolute": "{outside}",
    "upwards": "../../../../../../../../../../../..{outside}",
    "root of a process": "/proc/1/root{outside}",
}


class Place:
    """A tree, what lies outside of it, and the tool's view of the tree."""

    def __init__(self, top: Path, opener: beneath.Opener) -> None:
        self.outside, self.root = top / "outside", top / "root"
        (self.root / "etc/systemd").mkdir(parents=True)
        self.outside.mkdir()
        (self.outside / "victim").write_text("precious")
        (self.outside / "empty").mkdir()
        self.tree = Tree(self.root)
        self.tree.__dict__["_top"] = beneath.Root(self.root, opener)

    def plant(self, path: str, target: str) -> None:
        (self.root / path.lstrip("/")).symlink_to(target.format(outside=self.outside))


def everything(top: Path) -> dict[str, object]:
    """All names below, with their kind, mode, time of change and content."""
    found: dict[str, object] = {}
    for path in (top, *sorted(top.rglob("*"))):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = (status.st_mode, status.st_ino, status.st_ctime_ns, content)
    return found


@pytest.fixture(params=sorted(WAYS))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path, WAYS[request.param])
    before = everything(made.outside)
    yield made
    assert everything(made.outside) == before


@pytest.mark.parametrize("how", sorted(OUT))
def test_a_planted_link_leads_nothing_out(place: Place, how: str) -> None:
    place.plant("etc/systemd/system", OUT[how])
    tree, inside = place.tree, "/etc/systemd/system"
    assert tree.text(f"{inside}/victim") == ""
    assert tree.names(inside) == ()
    assert tree.status_of(f"{inside}/victim") is None
    for write in (
        lambda: tree.write_file(f"{inside}/unit", "text"),
        lambda: tree.link(f"{inside}/a.wants/unit", "/x"),
        lambda: tree.make_directories(f"{inside}/a/b"),
    ):
        with pytest.raises(OSError, match=r"File exists|No such file|Too many"):
            write()
    with suppress(OSError):
        tree.remove(f"{inside}/victim")
    tree.remove_empty(f"{inside}/empty")
    assert tree.followed(inside).startswith(f"{place.root}/")


@pytest.mark.parametrize("way", sorted(WAYS))
def test_the_links_of_proc_are_no_way_out(way: str) -> None:
    """As in a chroot in use, with its /proc: there links lead anywhere, whatever they say."""
    root = beneath.Root("/proc", WAYS[way])
    number = os.open("/etc", os.O_PATH)
    for path in ("self/root/etc/passwd", "1/root/etc/passwd", "self/cwd/pyproject.toml",
                 f"self/fd/{number}/passwd", "self/root/../etc/passwd"):  # fmt: skip
        with pytest.raises(OSError, match=r"Errno"):
            os.close(root.open(path, os.O_PATH))
    os.close(number)
    os.close(root.open("self/status", os.O_RDONLY))


def test_an_absolute_link_means_the_trees_own_root(place: Place) -> None:
    (place.root / "real").mkdir()
    place.plant("etc/systemd/system", "/real")
    place.tree.write_file("/etc/systemd/system/unit", "text")
    assert (place.root / "real/unit").read_text() == "text"
    assert place.tree.text("/etc/systemd/system/../real/unit") == "text"
    assert place.tree.followed("/etc/systemd/system/unit") == f"{place.root}/real/unit"
    # Nor is a name lost where there is nothing yet.
    assert place.tree.followed("/etc/systemd/system/a/b/c") == f"{place.root}/real/a/b/c"
    assert place.tree.followed("/etc/none/system/c") == f"{place.root}/etc/none/system/c"
    place.tree.remove("/etc/systemd/system/unit")
    assert place.tree.names("/real") == ()


@pytest.mark.parametrize("how", sorted(OUT))
def test_a_file_that_is_a_link_is_replaced_or_removed_itself(place: Place, how: str) -> None:
    place.plant("etc/unit", OUT[how] + "/victim")
    place.tree.write_file("/etc/unit", "ours")
    assert not (place.root / "etc/unit").is_symlink()
    place.tree.remove("/etc/unit")
    place.plant("etc/unit", OUT[how] + "/victim")
    place.tree.remove("/etc/unit")
    assert not os.path.lexists(place.root / "etc/unit")


def test_loops_and_dangling_links_end_in_an_error(place: Place) -> None:
    place.plant("etc/a", "b")
    place.plant("etc/b", "a")
    with pytest.raises(OSError, match="Too many levels") as raised:
        place.tree.stat("/etc/a/x")
    assert raised.value.errno == errno.ELOOP
    assert place.tree.text("/etc/a") == ""
    assert (place.tree.looked_up("/etc/a").st_mode & 0o170000) == 0o120000
    place.plant("etc/nowhere", "/not/there")
    with pytest.raises(FileExistsError):
        place.tree.write_file("/etc/nowhere/unit", "x")
    assert not (place.root / "not").exists()


def test_a_root_that_is_a_link_is_followed_once(tmp_path: Path, place: Place) -> None:
    link = tmp_path / "link"
    link.symlink_to(place.root)
    tree = Tree(link)
    tree.write_file("/etc/first", "1")
    link.unlink()
    link.symlink_to(place.outside)
    tree.write_file("/etc/second", "2")
    assert (place.root / "etc/second").read_text() == "2"


def test_only_regular_files_are_read(place: Place) -> None:
    os.mkfifo(place.root / "etc/fifo")
    place.plant("etc/random", "/dev/random")
    with (place.root / "etc/sparse").open("wb") as file:
        file.truncate(1 << 40)
    for path in ("/etc/fifo", "/etc", "/etc/random"):
        with pytest.raises(OSError, match=r"."):
            place.tree.head(path, 10)
    assert place.tree.head("/etc/sparse", 10) == bytes(10)


def test_swapping_a_directory_for_a_link_gains_nothing(place: Place) -> None:
    """A user renames in the tree as fast as he can, while files are written and removed."""
    home, over = place.root / "etc", threading.Event()
    (home / "d").mkdir()
    (home / "evil").symlink_to(place.outside)

    def swap() -> None:
        while not over.is_set():
            shutil.rmtree(home / "kept", ignore_errors=True)
            # The tool may have made `d` anew in the moment when it was away.
            for one, other in (("d", "kept"), ("evil", "d"), ("d", "evil"), ("kept", "d")):
                with suppress(OSError):
                    (home / one).rename(home / other)

    thread = threading.Thread(target=swap)
    thread.start()
    done = 0
    try:
        for _ in range(500):
            for act in _acts(place.tree):
                try:
                    act()
                    done += 1
                except OSError:
                    continue
    finally:
        over.set()
        thread.join()
    assert done > 100


def _acts(tree: Tree) -> tuple[Callable[[], object], ...]:
    return (
        lambda: tree.write_file("/etc/d/victim", "hacked"),
        lambda: tree.link("/etc/d/link", "x"),
        lambda: tree.remove("/etc/d/victim"),
        lambda: tree.remove_empty("/etc/d/empty"),
    )


STORE = "/usr/local/lib/binfmt-setup/qemu"
STORED = Stored(f"{STORE}/1.0-abc", "x", "sha256:abc", "1.0")


def _unpacked(root: Path) -> None:
    with unpacking(Host(root), STORE) as new:
        new.sink("bin/qemu-arm", "qemu-arm", iter([b"1", b"2"]))
        with new.scratch() as scratch:
            scratch.write(b"passing")
        new.finish(STORED, {}, known=False)


@pytest.mark.parametrize("planted", ["usr", "usr/local/lib", STORE[1:]])
def test_nothing_is_unpacked_outside(place: Place, planted: str) -> None:
    path = place.root / planted
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(place.outside)
    with pytest.raises(NoEmulator):
        _unpacked(place.root)
    (place.root / str(place.outside)[1:]).mkdir(parents=True)
    _unpacked(place.root)  # the link means a directory in the tree, which is there now


def test_unpacking_follows_no_link_that_looks_like_a_leftover(place: Place) -> None:
    store = place.root / STORE[1:]
    store.mkdir(parents=True)
    (store / ".new-evil0000").symlink_to(place.outside)
    (store / "1.0-abc").symlink_to(place.outside)
    killed = store / ".new-abcd1234"
    killed.mkdir()
    (killed / "0-qemu-arm").symlink_to(place.outside / "victim")
    _unpacked(place.root)
    assert sorted(path.name for path in store.iterdir()) == [".new-evil0000", "1.0-abc"]
    assert [path.name for path in (store / "1.0-abc").iterdir()] == ["binfmt-setup.json"]
    assert not (store / "1.0-abc").is_symlink()


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """The limit makes the first write a short one, and lets the second one fail (setrlimit(2))."""
    code = (
        "import os, resource, sys\nfrom binfmt_setup.system.tree import Tree\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "for act in (lambda t: t.write_file('/etc/unit', 'x' * 100),\n"
        "            lambda t: t.write_file('/new/directory/unit', 'x' * 100)):\n"
        "    try:\n        act(Tree(sys.argv[1]))\n"
        "    except OSError as error:\n        print(error.errno)\n"
    )
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/unit").write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(errno.EFBIG)] * 2
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["etc", "unit"]
    assert (tmp_path / "etc/unit").read_text() == "old"


def test_both_ways_agree(tmp_path: Path) -> None:
    place = Place(tmp_path, beneath.walk)
    kernel = beneath.Root(place.root, beneath.by_kernel)
    (place.root / "a/b").mkdir(parents=True)
    (place.root / "a/b/file").write_text("x")
    for number, target in enumerate(("/a", "b/..", "../a/b", "../../../a/./b//file", "/", "x")):
        (place.root / f"a/{number}").symlink_to(target)
    names = ("", "b", "..", ".", "file", *"012345", "missing")
    for path in (f"/a/{x}/{y}/{z}" for x in names for y in names for z in names):
        for flags in (os.O_PATH, os.O_PATH | os.O_NOFOLLOW):
            assert _met(kernel, path, flags) == _met(place.tree._top, path, flags), path


def _met(root: beneath.Root, path: str, flags: int) -> object:
    try:
        descriptor = root.open(path, flags)
    except OSError as error:
        return error.errno
    try:
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "planted",
    ["etc/systemd/system", "etc/binfmt.d", "etc/binfmt-setup", "etc",
     "etc/systemd/system/multi-user.target.wants"],
)  # fmt: skip
def test_install_and_uninstall_change_nothing_outside(tmp_path: Path, planted: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for path in ("bin/sh", "usr/bin/qemu-s390x-static", "usr/lib/systemd/systemd",
                 "usr/lib/systemd/systemd-binfmt"):  # fmt: skip
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROBES / NATIVE, root / path)
        (root / path).chmod(0o755)  # whatever umask this clone was made with
    (root / planted).parent.mkdir(parents=True, exist_ok=True)
    outside.mkdir()
    # What an install would have put there, so that there is something to overwrite and remove.
    sound = shutil.copytree(root, tmp_path / "sound")
    assert _tool(sound, "install", "s390x").returncode == 0
    if (sound / planted).is_dir():
        shutil.copytree(sound / planted, outside, symlinks=True, dirs_exist_ok=True)
    (root / planted).symlink_to(outside)
    before = everything(outside)
    for command in (("install", "s390x"), ("check", "s390x"), ("uninstall",)):
        done = _tool(root, *command)
        assert "Traceback" not in done.stderr
        assert everything(outside) == before, command


def _tool(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command, *rest = arguments
    return subprocess.run(
        [sys.executable, "-m", "binfmt_setup", command, "--root", root, *rest],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


LAST_FILE = """
import os, sys
from pathlib import Path
from binfmt_setup.system.tree import Tree
top = Path(sys.argv[1])
(top / "d").mkdir()
(top / "d" / "file").touch()
Tree(top).remove_with_directory("/d/file")
print(os.listdir(top))
"""


def test_a_directory_that_cannot_be_listed_goes_with_its_last_file(tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    top, trace = tmp_path / "top", tmp_path / "trace"
    top.mkdir()
    refused = ("-e", "inject=getdents64:error=EIO", "-P", top / "d", "-o", trace)
    done = run(["strace", "-qq", *refused, sys.executable, "-c", LAST_FILE, top])
    assert done.stdout == "[]\n", done.stderr
    assert "INJECTED" in trace.read_text()
