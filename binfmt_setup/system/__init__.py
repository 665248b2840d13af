"""The door: files, mounts, processes, probes, and the binfmt_misc registry."""
