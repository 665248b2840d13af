"""What words mean: targets, ELF identification, registrations, facts and errors. Pure."""
