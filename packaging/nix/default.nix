# Not built here: see packaging/README.md.
{
  lib,
  python3Packages,
}:

python3Packages.buildPythonApplication {
  pname = "binfmt-setup";
  version = "0.1.0";
  pyproject = true;
  src = lib.cleanSource ../..;

  build-system = [ python3Packages.hatchling ];
  dependencies = with python3Packages; [
    jinja2
    psutil
    pyelftools
    typer
    urllib3
  ];
  # typer is held to what starts fast; Nix has one version of each.
  pythonRelaxDeps = true;
  # The probes are programs of other architectures.
  dontStrip = true;
  dontPatchELF = true;
  doCheck = false;
  pythonImportsCheck = [ "binfmt_setup" ];

  meta = {
    description = "Make programs of foreign architectures just run";
    license = lib.licenses.mit;
    mainProgram = "binfmt-setup";
    platforms = lib.platforms.linux;
  };
}
