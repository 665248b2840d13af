"""Everything that is said: each sentence and each format."""
