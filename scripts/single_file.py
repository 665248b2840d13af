"""The way into binfmt-setup.pyz, where it is `__main__.py`: gives Python the modules there.

They are compiled for several Pythons, in two pieces for each: a directory of the archive with all
of them would take longer to read than most commands run. The second piece has the libraries, which
most commands need none of. A Python that nothing was compiled for gets the sources.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - the one file that an older Python comes to read
    version = "%d.%d" % sys.version_info[:2]  # noqa: UP031
    sys.stderr.write("binfmt-setup needs Python 3.10 or newer; this is " + version + "\n")
    sys.stderr.write("run it with another one: python3.11 " + sys.argv[0] + " ...\n")
    sys.exit(4)

import marshal
import os
import zlib
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False  # importing typing would take longer than all of this
if TYPE_CHECKING:
    from importlib.abc import Loader
    from types import CodeType, ModuleType
    from zipimport import zipimporter

    __loader__: zipimporter
    Modules = dict[str, tuple[bool, str, bytes]]
else:
    Loader = object

ARCHIVE = os.path.abspath(__loader__.archive)
LIBRARIES = (
    *("annotated_doc", "elftools", "jinja2", "markupsafe"),
    *("shellingham", "tomli", "typer", "urllib3"),
)
SOURCES, OF_LIBRARIES = "code/sources", ".libraries"
PLACES = ("/run", "/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - each is looked at


class SingleFile(Loader):
    """Finds and loads what lies in the archive."""

    def __init__(self, tag: str) -> None:
        # By its full name: this process may go to another directory.
        self.read = __loader__.get_data
        if __loader__.archive != ARCHIVE:
            self.read = type(__loader__)(ARCHIVE).get_data
        self.unpacked_at = ""
        self.member = "code/" + tag
        self.with_libraries = False
        try:
            self.modules = self._piece(self.member)
        except OSError:
            self.member = SOURCES
            self.modules = self._piece(SOURCES)

    def _piece(self, member: str) -> "Modules":
        found: Modules = marshal.loads(self.read(member))
        return found

    def find_spec(self, name: str, _: object = None, __: object = None) -> "ModuleSpec | None":
        """What Python asks first for every module; most are not here."""
        if not self.with_libraries and name.partition(".")[0] in LIBRARIES:
            self.with_libraries = True
            self.modules.update(self._piece(self.member + OF_LIBRARIES))
        row = self.modules.get(name)
        if row is None:
            return None
        path = os.path.join(ARCHIVE, row[1])
        spec = ModuleSpec(name, self, origin=path, is_package=row[0])
        spec.has_location = True
        if row[0]:
            spec.submodule_search_locations = [os.path.dirname(path)]
        return spec

    def create_module(self, _: ModuleSpec) -> None:
        """Leave that to Python."""

    def exec_module(self, module: "ModuleType") -> None:
        """Run the code of a module."""
        exec(self.get_code(module.__name__), vars(module))

    def get_code(self, name: str) -> "CodeType":
        """The code of a module, compiled now where it is not yet."""
        _, path, packed = self.modules[name]
        content = zlib.decompress(packed)
        if self.member != SOURCES:
            code: CodeType = marshal.loads(content)
            return code
        return compile(content, path, "exec", dont_inherit=True)

    def get_source(self, name: str) -> str:
        """The lines that a traceback shows."""
        end = OF_LIBRARIES if name.partition(".")[0] in LIBRARIES else ""
        return zlib.decompress(self._piece(SOURCES + end)[name][2]).decode()

    def get_data(self, path: str) -> bytes:
        """A file of a package."""
        return self.read(path)

    def unpacked(self, folder: str, names: "list[str]") -> str:
        """A directory with these files, which are programs, until `remove_unpacked`."""
        if not self.unpacked_at:
            self.unpacked_at = _new_directory()
            for name in names:
                path = os.path.join(self.unpacked_at, name)
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
                os.write(descriptor, self.read(os.path.join(folder, name)))
                os.fchmod(descriptor, 0o755)
                os.close(descriptor)
        return self.unpacked_at

    def remove_unpacked(self) -> None:
        """Leave nothing behind."""
        if self.unpacked_at:
            for name in os.listdir(self.unpacked_at):
                os.unlink(os.path.join(self.unpacked_at, name))
            os.rmdir(self.unpacked_at)
            self.unpacked_at = ""


def _new_directory() -> str:
    """A new directory of this user's own, where programs may be executed."""
    refused = OSError("no directory is writable and executable")
    for place in PLACES:
        path = os.path.join(place, "binfmt-setup-" + os.urandom(8).hex())
        try:
            if not os.statvfs(place).f_flag & os.ST_NOEXEC:
                os.mkdir(path, 0o700)
                os.chmod(path, 0o755)
                return path
        except OSError as error:
            refused = error
    raise refused


sys.meta_path.insert(0, SingleFile(sys.implementation.cache_tag))

from binfmt_setup.__main__ import main

main()
