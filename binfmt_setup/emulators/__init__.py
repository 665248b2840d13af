"""Which QEMU there is, which one is taken, and which package brings one."""
