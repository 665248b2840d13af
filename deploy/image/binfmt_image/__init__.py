"""The container image's own part: its command line, and how it reaches the host."""
