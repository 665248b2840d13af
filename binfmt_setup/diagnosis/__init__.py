"""From facts to findings: what is wrong, whose entry it is, and what cures it."""
