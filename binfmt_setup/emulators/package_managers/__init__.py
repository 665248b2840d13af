"""One file for each package manager that brings QEMU user mode."""
