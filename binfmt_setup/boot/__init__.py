"""What the next boot reads, and what this tool writes for it."""
