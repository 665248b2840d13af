# What the packages for all releases of Debian have in common.

PROBES = debian/probes

# Each probe from source, with this release's compilers; each must be what it has to be (machine,
# flags, static). Where a compiler is that of the recorded build, --check wants the same bytes.
execute_after_dh_auto_build:
	mkdir -p $(PROBES)/binfmt_setup/model $(PROBES)/binfmt_setup/data
	cp -r scripts $(PROBES)
	$(PROBES)/scripts/build-probes $(COMPILERS)
	scripts/build-probes --check
	diff binfmt_setup/data/probes/SHA256SUMS $(PROBES)/binfmt_setup/data/probes/SHA256SUMS \
		|| echo "other compilers, other bytes: see BUILT-WITH"

execute_after_dh_auto_install:
	rm $(PACKAGE)/data/probes/*
	cp $(PROBES)/binfmt_setup/data/probes/* $(PACKAGE)/data/probes/
	cp $(PROBES)/binfmt_setup/model/probe_headers.py $(PACKAGE)/model/
# Debian's zsh does not look into site-functions below /usr/share.
	rm -rf debian/binfmt-setup/usr/share/zsh
	install -Dm 644 binfmt_setup/data/completion/zsh \
		debian/binfmt-setup/usr/share/zsh/vendor-completions/_binfmt-setup
	find debian/binfmt-setup -name __pycache__ -prune -exec rm -rf {} +

# The probes have no section that could be stripped, and most are of another architecture.
override_dh_strip override_dh_strip_nondeterminism override_dh_makeshlibs override_dh_shlibdeps:

execute_after_dh_clean:
	rm -rf $(PROBES)
