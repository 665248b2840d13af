"""Opening files below a directory that nothing leads out of: no link, no `..`, no rename.

`--root DIR` is used by root on trees that others can write to, while they write. So a path
below it is never put together and given to the kernel: it is opened from the directory's own
descriptor, and the directory counts as "/" for every link on the way.

The kernel does that since Linux 5.6 (openat2(2), RESOLVE_IN_ROOT). Elsewhere, and under a
seccomp filter that does not know the call, `walk` does the same name by name.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

HOPS = 40  # links that are followed before it is a loop: as many as the kernel follows
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_AGAIN = 16  # times a lookup is repeated that renames in the tree made uncertain

Opener = Callable[[int, str, int], int]
"""Opens a path below a directory, given by its descriptor; flags as open(2) has them."""


class Root:
    """A directory that is held open, and how files below it are opened."""

    def __init__(self, path: str | os.PathLike[str], opener: Opener | None = None) -> None:
        self.descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._opener = opener or _best(self.descriptor)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    def open(self, inside: str, flags: int) -> int:
        """A descriptor of what lies at a path below; raises OSError. Nothing is created."""
        return self._opener(self.descriptor, inside.strip("/") or ".", flags | os.O_CLOEXEC)

    def followed(self, inside: str) -> str:
        """The path below with all links followed, as far as there is something."""
        way = Way(self.descriptor)
        try:
            way.go(inside)
        except OSError:
            return way.unseen()
        finally:
            way.close()
        return way.path


def _best(descriptor: int) -> Opener:
    """The kernel's own way where there is one, else a walk."""
    from binfmt_setup.system import syscalls

    try:
        os.close(syscalls.open_in_root(descriptor, ".", _PATH | os.O_DIRECTORY))
    except OSError:  # ENOSYS; EPERM from older seccomp filters
        return walk
    return by_kernel


def by_kernel(root: int, inside: str, flags: int) -> int:
    """Open with openat2(2)."""
    from binfmt_setup.system import syscalls

    for _ in range(_AGAIN):
        try:
            return syscalls.open_in_root(root, inside, flags)
        except OSError as error:
            # Something was renamed while a `..` was looked up: the kernel does not guess.
            if error.errno != errno.EAGAIN:
                raise
    return walk(root, inside, flags)


def walk(root: int, inside: str, flags: int) -> int:
    """Open by looking up one name after the other, each in the directory that is held open."""
    way = Way(root)
    try:
        way.go(inside, follow_last=not flags & os.O_NOFOLLOW)
        # What was looked at by now may be something else: a link is refused, whatever it is.
        directory, name = way.last
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    finally:
        way.close()


class Way:
    """The way from a root down to a file: the directories on it, each by its descriptor."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._taken: list[tuple[str, int]] = []
        self._todo: list[str] = []

    @property
    def path(self) -> str:
        """Where it has got to, without links."""
        return "/" + "/".join(name for name, _ in self._taken)

    @property
    def last(self) -> tuple[int, str]:
        """The directory and the name of what it has got to."""
        if not self._taken:
            return self._root, "."
        return self._directory(-1), self._taken[-1][0]

    def go(self, path: str, *, follow_last: bool = True) -> None:
        """Go down a path; raises OSError where there is no going on."""
        self._todo, hops = path.split("/")[::-1], 0
        while self._todo:
            name = self._todo.pop()
            if name in ("", ".", ".."):
                if not stat.S_ISDIR(os.stat(self._directory(0)).st_mode):
                    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                self._back(len(name) // 2)
                continue
            try:
                found = os.open(name, _PATH, dir_fd=self._directory(0))
            except OSError:
                self._todo.append(name)  # it has not come as far as this one
                raise
            self._taken.append((name, found))
            last = not any(self._todo) and not follow_last
            if stat.S_ISLNK(os.stat(found).st_mode) and not last:
                hops += 1
                if hops > HOPS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                self._turn(os.readlink("", dir_fd=found))

    def unseen(self) -> str:
        """Where the path leads by its words alone, from where there was no going on."""
        parts = [name for name, _ in self._taken]
        for name in reversed(self._todo):
            if name == "..":
                del parts[-1:]
            elif name not in ("", "."):
                parts.append(name)
        return "/" + "/".join(parts)

    def close(self) -> None:
        """Let go of all directories; `path` stays."""
        for _, descriptor in self._taken:
            os.close(descriptor)
        self._taken = [(name, -1) for name, _ in self._taken]

    def _directory(self, before: int) -> int:
        """The directory it is in (0), or the one that holds what it has got to (-1)."""
        place = len(self._taken) - 1 + before
        return self._taken[place][1] if place >= 0 else self._root

    def _back(self, steps: int) -> None:
        for _ in range(min(steps, len(self._taken))):
            os.close(self._taken.pop()[1])

    def _turn(self, target: str) -> None:
        """Go where a link points: from the root, or from the directory it lies in."""
        self._back(len(self._taken) if target.startswith("/") else 1)
        self._todo += target.split("/")[::-1]
