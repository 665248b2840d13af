"""Reading a host into facts; nothing is changed by looking."""
