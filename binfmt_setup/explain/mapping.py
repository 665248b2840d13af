"""What the kernel maps of a program of its own, once there is no way back (fs/binfmt_elf.c).

load_elf_binary() has thrown away by then what the process was: what it refuses now has no errno,
and the process is killed. Addresses are those of a program that is loaded where it wants to be;
of one that may lie anywhere they are as high as they can be.
"""

from __future__ import annotations

import os

from binfmt_setup.explain.explanation import Failure
from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.explain.loading import Loading, Segment

_PAGE = os.sysconf("SC_PAGE_SIZE")
_X, _W, _R = 1, 2, 4
_ET_DYN = 3
_I386 = 3
_ENDS = {(62, 64): (1 << 47) - 4096, (_I386, 32): 0xFFFFE000}
"""TASK_SIZE: behind the last address. Other machines have several, by their page tables."""
_LIKELY, _EMULATED = {32: 1 << 32, 64: 1 << 56}, {32: 1 << 32, 64: 1 << 47}
"""The same of any other machine at most, and of what QEMU emulates on all hosts."""
_DESCRIBED = ((21, "big"), (50, "little"))
"""Machines whose entry point is in data, which names the place: PowerPC 64 (ELFv1) and IA-64."""
_STACK = 128 << 20
"""What is kept free for the stack at least (mmap_base in arch/x86/mm/mmap.c)."""


class Limits(Record):
    """What a kernel gives its programs: the lowest address, and bytes of memory at once."""

    lowest: int = 0
    memory: int = 1 << 64


UNLIMITED = Limits()


class _Region(Record):
    """Memory that a program has when it starts; `offset` is None for what is in no file."""

    start: int
    end: int
    flags: int
    offset: int | None


def lacks(loading: Loading, size: int) -> bool:
    """Whether so much is missing that no program does without.

    Behind a file's last page there is nothing (SIGBUS), within it there are zeros: of 60 programs
    without their last page none ran, of 180 without a part of it 126 did. A file whose table of
    sections is there is not cut off: there a header says too much.
    """
    is_cut = not loading.sections or loading.sections > size
    for segment in loading.loaded:
        end = segment.offset + segment.size if segment.size else 0
        if is_cut and end > (size if segment.flags & _X else _up(size)):
            return True
        begins = segment.offset < _up(size)
        if end > _up(size) and (segment.flags & _W or (segment.flags & _X and not begins)):
            return True
    return False


def refused(
    loading: Loading, size: int, what: str = "it", limits: Limits | None = None, *,
    is_loader: bool = False,
) -> Failure | None:  # fmt: skip
    """Why a program ends while it is loaded, or at its first step.

    With limits it is the kernel that loads it, without them QEMU, which takes more.
    """
    likely = _ENDS.get((loading.machine, loading.bits), _LIKELY[loading.bits])
    end = _EMULATED[loading.bits] if limits is None else likely
    base = _base(loading, end, is_loader=is_loader)
    regions: list[_Region] = []
    for segment in loading.loaded:
        mapped = _mapped(segment, base) if segment.memory else []
        words = _misfit(segment, base, end, size)
        words = words or (_denied(segment, mapped, limits) if limits else _unread(segment, loading))
        if words:
            at = f"its segment at {segment.address:#x}"
            return Failure("no-program", f"{what} ends while it is loaded: {at} {words}")
        regions += mapped
    words = _nowhere(loading, base, regions, size)
    return Failure("no-entry-point", f"{what} {words}") if words else None


def _up(address: int) -> int:
    return -(-address // _PAGE) * _PAGE


def _base(loading: Loading, limit: int, *, is_loader: bool) -> int:
    """What is added to each address of a program that may lie anywhere."""
    if loading.elf_type != _ET_DYN or not loading.loaded:
        return 0
    first = loading.loaded[0]
    aligned = (s.align for s in loading.loaded if s.align & (s.align - 1) == 0)
    if max(aligned, default=0) > limit and not is_loader:  # no place but its own is left
        return 0
    if loading.loader is not None and not is_loader:
        return limit // 3 * 2 // _PAGE * _PAGE - first.address // _PAGE * _PAGE
    if not first.size:  # nothing is mapped, so no place is looked for
        return -(first.address // _PAGE * _PAGE)
    low = min(s.address // _PAGE * _PAGE for s in loading.loaded)
    return limit - _STACK - _up(max(s.address + s.memory for s in loading.loaded) - low) - low


def _misfit(segment: Segment, base: int, limit: int, size: int) -> str:
    """Why a segment cannot be mapped."""
    start = segment.address + base
    if segment.size and (segment.offset - segment.address) % _PAGE:
        return f"lies at {segment.offset:#x} in the file, which is another place within a page"
    if segment.offset + segment.size > 1 << 63 and segment.size:
        return "lies where no file has anything"
    length = max(segment.memory, segment.size)
    if length and (start < 0 or _up(start + length) > limit):
        return "lies where no program can be"
    end = segment.offset + segment.size
    padded = segment.memory > segment.size and (segment.address + segment.size) % _PAGE
    if padded and segment.size and segment.flags & _W and end // _PAGE * _PAGE >= _up(size):
        return "is cut off"
    return ""


def _denied(segment: Segment, mapped: list[_Region], limits: Limits) -> str:
    """Why this kernel does not give a program that memory."""
    if segment.size > segment.memory:
        return f"has more bytes in the file ({segment.size}) than in memory ({segment.memory})"
    if any(region.start < limits.lowest for region in mapped):
        return "lies lower than this kernel allows (vm.mmap_min_addr)"
    if any(r.flags & _W and r.end - r.start > limits.memory for r in mapped):
        return "wants more memory than this machine has"
    return ""


def _unread(segment: Segment, loading: Loading) -> str:
    """QEMU reads what it runs, and fills the last page of the file's part with zeros."""
    runs = segment.address <= loading.entry < segment.address + segment.memory
    if runs and segment.flags & (_X | _W | _R) == _X | _W:
        return "may be written and not read"
    padded = 0 < segment.size < segment.memory and (segment.address + segment.size) % _PAGE
    return "" if segment.flags & _W or not padded else "may not be written, and ends in zeros"


def _mapped(segment: Segment, base: int) -> list[_Region]:
    """What of it comes from the file, and the zeros behind that."""
    start = segment.address + base
    page = start // _PAGE * _PAGE
    middle = _up(start + segment.size) if segment.size else page
    zeros = _R | _W | (segment.flags & _X)
    regions = [
        _Region(page, middle, segment.flags, segment.offset - start % _PAGE),
        _Region(middle, _up(start + segment.memory), zeros, None),
    ]
    return [region for region in regions if region.end > region.start]


def _nowhere(loading: Loading, base: int, regions: list[_Region], size: int) -> str:
    """Why nothing can be done where it starts; of regions over one another the last counts."""
    if not loading.entry:
        return "is a shared library: it has no entry point"
    at = loading.entry + base
    there = next((r for r in reversed(regions) if r.start <= at < r.end), None)
    if there is None:
        return f"starts at {loading.entry:#x}, where nothing of it is loaded"
    # As programs from before PT_GNU_STACK want it (elf_read_implies_exec).
    read_is_enough = loading.machine == _I386 and not loading.stack
    describes = (loading.machine, loading.order) in _DESCRIBED
    executable = _X | (_R if read_is_enough else 0)
    if not there.flags & executable and not describes:
        return f"starts at {loading.entry:#x}, in memory that may not be executed"
    if there.offset is None or there.offset + (at - there.start) >= size:
        return f"starts at {loading.entry:#x}, where nothing is in the file"
    return ""
