"""Where QEMU comes from with --qemu: directories, archives, container images."""
