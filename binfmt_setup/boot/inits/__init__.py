"""The inits: one file each says what it reads at boot, and what is written for it."""
