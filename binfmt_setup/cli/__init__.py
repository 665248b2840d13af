"""Command lines, streams and exit codes."""
