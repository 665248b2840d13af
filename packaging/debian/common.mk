# What the packages for all releases of Debian have in common.

MADE = debian/made

# The probes and the programs of `check --deep` from source, with this release's compilers, and it is
# these that the package has. Each probe must be what it has to be (machine, flags, static). Those
# that the recorded compilers make must have the recorded bytes; which others there are, is told.
execute_after_dh_auto_build:
	mkdir -p $(MADE)/binfmt_setup/model $(MADE)/binfmt_setup/data
	cp -r scripts $(MADE)
	$(MADE)/scripts/build-probes $(COMPILERS) --against binfmt_setup/data/probes
	$(MADE)/scripts/build-workout $(COMPILERS) --headers $(HEADERS) \
		--against binfmt_setup/data/workout

execute_after_dh_auto_install:
	rm $(PACKAGE)/data/probes/* $(PACKAGE)/data/workout/*
	cp $(MADE)/binfmt_setup/data/probes/* $(PACKAGE)/data/probes/
	cp $(MADE)/binfmt_setup/data/workout/* $(PACKAGE)/data/workout/
	cp $(MADE)/binfmt_setup/model/probe_headers.py $(PACKAGE)/model/
# Debian's zsh does not look into site-functions below /usr/share.
	rm -rf debian/binfmt-setup/usr/share/zsh
	install -Dm 644 binfmt_setup/data/completion/zsh \
		debian/binfmt-setup/usr/share/zsh/vendor-completions/_binfmt-setup
	find debian/binfmt-setup -name __pycache__ -prune -exec rm -rf {} +

# The probes have no section that could be stripped, and most are of another architecture.
override_dh_strip override_dh_strip_nondeterminism override_dh_makeshlibs override_dh_shlibdeps:

execute_after_dh_clean:
	rm -rf $(MADE)
