"""Turn a Linux host into one on which foreign-architecture programs just run."""

__version__ = "0.1.0"
