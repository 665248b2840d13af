# Packer's shell provisioner, on the machine that becomes the image: it runs, so no --root.
build {
  sources = ["source.qemu.debian"]

  provisioner "file" {
    source      = "binfmt-setup.pyz"
    destination = "/tmp/binfmt-setup.pyz"
  }

  provisioner "shell" {
    execute_command = "sudo sh -c '{{ .Vars }} {{ .Path }}'"
    inline = [
      "install -m 0755 /tmp/binfmt-setup.pyz /usr/local/bin/binfmt-setup",
      "binfmt-setup install linux/arm64 --install-qemu",
      "binfmt-setup check linux/arm64 --strict",
    ]
  }
}
