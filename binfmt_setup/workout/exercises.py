"""The exercises by their kinds, in the order in which scripts/exercises/ has them. Pure."""

from __future__ import annotations

KINDS = {
    "memory": (
        "heap heap-pie heap-pie-small madvise-dontneed map-fixed-noreplace map-reserve map-go-heap "
        "mremap-grow mremap-fixed mremap-dontunmap mremap-duplicate madvise-wipeonfork mprotect "
        "munmap-middle efault map-file-shared map-file-end map-shared-fork sysv-memory memfd "
        "mincore mlock2 page-size map-loader deep-stack address-limit proc-maps proc-mem "
        "map-shared-validate many-maps process-vm-readv"
    ),
    "threads": (
        "threads atomic-add atomic-small atomic-compare futex-lock memory-order futex-timeout "
        "futex-bitset futex-requeue robust-lock priority-lock thread-signal thread-exit "
        "fork-threads exec-thread membarrier futex-waitv rseq signal-storm thread-pointer"
    ),
    "processes": (
        "exit-status spawn-error vfork exec-errors exec-self proc-self-exe proc-cmdline script "
        "execveat argv0 long-arguments too-long-arguments close-on-exec clone3 pidfd waitid "
        "waitid-usage limits sessions task-name parent-death many-forks random exec-file-name "
        "auxiliary-values setuid"
    ),
    "signals": (
        "signal-user signal-return signal-thread sigaltstack sigaltstack-disarm segv-recover "
        "segv-code segv-call signal-counter signal-restart signal-masks signal-queue signal-every "
        "sigaction timer-interval timer-posix timer-thread sigtimedwait signalfd signal-child "
        "signal-once signal-child-ignored trap-instruction signal-float"
    ),
    "JITs": (
        "jit-one-mapping jit-by-turns jit-two-mappings jit-much-code jit-replaced jit-read "
        "jit-threads jit-fork"
    ),
    "files": (
        "directory directory-offsets directory-overlay directory-old large-file many-files "
        "file-times after-2038 statx openat2 faccessat2 fchmodat2 close-range copy-file-range "
        "splice sendfile renameat2 tmpfile file-locks preadv preadv2 links xattr inotify fallocate "
        "statfs getcwd file-handles sync pipe-size"
    ),
    "kernel services": (
        "epoll epoll-pwait2 eventfd timerfd poll select clock time64 sleep affinity sched-getattr "
        "uname sysinfo proc-cpuinfo ptrace seccomp io-uring aio landlock userfaultfd perf-events "
        "bpf mount open-tree capabilities groups vdso getrandom unknown-call message-queue "
        "semaphores terminal"
    ),
    "network": (
        "pass-descriptor peer-credentials socket-options receive-timeout many-messages "
        "unix-sockets tcp udp netlink-links netlink-addresses netlink-routes socket-errors peek"
    ),
    "processor": "integers unaligned floats denormals hwcap",
}
"""The names by kind, as words of one text: nothing else is needed of them here."""
LEVELS = {
    "aarch64": ("neon", "lse", "sve"),
    "arm-v7": ("neon",),
    "i386": ("sse2",),
    "loongarch64": ("lsx", "lasx"),
    "ppc64le": ("vsx", "power9", "power10"),
    "riscv64": ("rva22", "rva23"),
    "s390x": ("z13", "z14", "z15"),
    "x86_64": ("v2", "v3", "v4"),
}
"""Levels of processors that distributions build for, by program."""
WITH_PIE = frozenset({
    "aarch64", "arm-v5", "arm-v6", "arm-v7", "i386", "loongarch64", "ppc64le", "riscv64", "s390x",
    "x86_64",
})  # fmt: skip
"""Programs with a second one that may lie anywhere."""
PIE = ("heap-pie", "heap-pie-small")
HANG = "hang"
TIMES = {
    "heap-pie": {"ok": 100, "fail": 1, HANG: 2},
    "signal-counter": {"ok": 5, "fail": 5, HANG: 2},
    "fork-threads": {"ok": 1, "fail": 10, HANG: 2},
}
"""How often an answer must come before it counts, where chance decides: the kernel puts things
elsewhere each time. Of 400 places 24 had too little space for the heap of riscv64 with QEMU 10 and
11: one that fails is enough. Address 0 of a program lies on QEMU 5.2's own data in 97 to 99 of 100
starts: what is usual counts. On mipsn32 QEMU 5.2 crashes at a fork beside threads in none to 57
of 150 starts, by what else the machine does: three in a row are no proof."""
USUAL = {"ok": 1, "fail": 3, HANG: 2}
"""A failure counts when it comes again, as a busy machine may have been too slow."""
SET_USER_ID = "setuid"
"""The one that is run from another user's file, by a process that can still gain rights."""
SPEEDS = ("integers", "floats", "calls", "starts", "memory")
VITAL = frozenset({
    "heap", "mprotect", "map-file-shared", "map-shared-fork", "page-size", "map-loader",
    "threads", "atomic-add", "atomic-compare", "futex-lock", "fork-threads", "exit-status",
    "exec-errors", "script", "signal-user", "signal-masks", "signal-child", "segv-recover",
    "jit-one-mapping", "jit-by-turns", "directory", "large-file", "statx", "epoll", "poll",
    "clock", "uname", "tcp", "unix-sockets", "integers", "unaligned", "floats", "level-neon",
    "level-lsx", "level-sse2", "level-vsx",
})  # fmt: skip
"""What ordinary programs need: an emulator that fails at it is not put into service."""


def kind_of(exercise: str) -> str:
    """The kind that an exercise is of."""
    return next((k for k, names in KINDS.items() if exercise in names.split()), "processor")


def exercises_of(program: str) -> tuple[str, ...]:
    """The exercises of a program, without those that measure speed."""
    names = [name for text in KINDS.values() for name in text.split()]
    if program not in WITH_PIE:
        names = [name for name in names if name not in PIE]
    return (*names, *(f"level-{level}" for level in LEVELS.get(program, ())))
