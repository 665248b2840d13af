"""Why one file runs here, or why it does not."""
