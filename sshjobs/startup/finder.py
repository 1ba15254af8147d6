"""Finds the modules of this package where they are, without a search.

Theory of operation: for each module importlib asks three finders, lists directories,
looks for extensions of six endings, and takes paths apart and puts them together
again: 0.28 million instructions where the module itself is empty (CPython 3.11), for
seventy modules in a process that lives for some tens of milliseconds. A module of ours
is a file of its name below this package, or a package's ``__init__``, and its compiled
code is beside it (PEP 3147). So a process of ours puts a finder before the others that
knows this and nothing else. Code is taken from the cache under the conditions of
importlib: magic number, time of change and size of the source are those in its header
(PEP 552). In any other case, and for anything odd, importlib sees to it.
"""

import gc
import marshal
import os
import sys

#: Type checkers take this name for true; see ``records.py``. This module is found by
#: importlib, and imports nothing that has to be searched for, ``__future__`` neither.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader
    from types import CodeType, ModuleType

    from .handover import Handover
else:
    # Those of importlib.machinery, which has them from here: the package importlib
    # brings ``warnings``.
    ModuleSpec = sys.modules["_frozen_importlib"].ModuleSpec
    SourceFileLoader = sys.modules["_frozen_importlib_external"].SourceFileLoader
    ExtensionFileLoader = sys.modules["_frozen_importlib_external"].ExtensionFileLoader

_PREFIX = f"{__name__.partition('.')[0]}."
_FOLDER = os.path.dirname(os.path.dirname(__file__))

#: Python's own library, and how its extensions end.
_LIBRARY = os.path.dirname(os.__file__)
_EXTENSION = sys.modules["_imp"].extension_suffixes()[0]

_WORD = 0xFFFFFFFF

#: How a file of cached code begins and ends, with this interpreter.
_MAGIC: bytes = sys.modules["_frozen_importlib_external"].MAGIC_NUMBER
_TAG = sys.implementation.cache_tag
_ENDING = f".{_TAG}{f'.opt-{sys.flags.optimize}' if sys.flags.optimize else ''}.pyc"

#: Cached code that is longer is left to importlib. malloc takes a buffer of twice as
#: many bytes from the kernel, and gives it back, each time (glibc, M_MMAP_THRESHOLD).
_MOST_BYTES = 1 << 16


class PackageSpec(ModuleSpec):
    """The usual spec; what importlib asks for at each import of a name is an attribute.

    ``parent`` is read four times an import of ``from .module import name``, as is
    ``cached`` for each module: each is a function of Python there.
    """

    parent: str = ""
    cached: str | None = None
    has_location: bool = True


class PackageLoader(SourceFileLoader):
    """The usual loader of a source file, with a shorter way to its cached code."""

    #: Where the cached code is, and the source as it was found.
    cached: str
    found: os.stat_result

    def create_module(self, spec: "ModuleSpec") -> "ModuleType":
        """Return the module with the names that importlib would look for in vain.

        To miss a name of a module makes and drops two errors with a text each.
        """
        module = type(sys)(spec.name)
        module.__file__ = self.path
        module.__dict__["__cached__"] = self.cached
        return module

    def get_code(self, fullname: str) -> "CodeType | None":
        """Return the code of the module, compiled anew if its source has changed."""
        try:
            fd = os.open(self.cached, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.read(fd, _MOST_BYTES)
            finally:
                os.close(fd)
        except OSError:
            return super().get_code(fullname)
        # The flags behind the magic number are 0, else it is a cache that is checked by
        # a hash of the source, or not at all.
        seconds, size = int(self.found.st_mtime) & _WORD, self.found.st_size & _WORD
        head = _MAGIC + (seconds << 32 | size << 64).to_bytes(12, "little")
        if data[:16] != head or len(data) == _MOST_BYTES:
            return super().get_code(fullname)
        code: CodeType = marshal.loads(memoryview(data)[16:])
        return code


def _build_spec(name: str, source: str, found: os.stat_result) -> PackageSpec:
    loader = PackageLoader(name, source)
    folder, _, file = source.rpartition("/")
    loader.cached = f"{folder}/__pycache__/{file[:-3]}{_ENDING}"
    loader.found = found
    spec = PackageSpec(name, loader, origin=source)
    spec.cached = loader.cached
    spec.parent = name.rpartition(".")[0]
    return spec


def _find_library_module(name: str) -> "ModuleSpec | None":
    """Return how to load two modules of Python that each start wants, else None.

    The search for them lists each folder of ``sys.path``, the library's two hundred
    names among them.
    """
    try:
        if name == "__future__":
            source = f"{_LIBRARY}/{name}.py"
            return _build_spec(name, source, os.stat(source))
        if name == "_sqlite3" and _EXTENSION:
            path = f"{_LIBRARY}/lib-dynload/{name}{_EXTENSION}"
            os.stat(path)
            return PackageSpec(name, ExtensionFileLoader(name, path), origin=path)
    except OSError:  # a layout of its own
        return None
    return None


class PackageFinder:
    """Finds modules of this package; anything else is for the finders behind it."""

    @staticmethod
    def find_spec(
        name: str, _path: object = None, _target: object = None, /
    ) -> "ModuleSpec | None":
        """Return how to load a module of this package, None if it is none."""
        if not name.startswith(_PREFIX):
            return _find_library_module(name)
        place = f"{_FOLDER}/{name[len(_PREFIX) :].replace('.', '/')}"
        source, is_package = f"{place}.py", False
        try:
            found = os.stat(source)
        except OSError:
            source, is_package = f"{place}/__init__.py", True
            try:
                found = os.stat(source)
            except OSError:
                return None
        spec = _build_spec(name, source, found)
        if is_package:
            spec.parent = name
            spec.submodule_search_locations = [place]
        return spec


#: The result of handing a submit over, for the command line; see ``handover.py``.
handover: "Handover | None" = None

#: So many processes that could run, for each processor, are a crowd.
_CROWD = 4


def hand_over_in_crowd() -> None:
    """Hand a submit over to a process of this machine that submits already.

    That is tried only where far more wants to run than there are processors; this
    process ends then, as it would have. Source: proc_loadavg(5), the fourth field.
    """
    global handover
    words = sys.argv[1:]
    if len(words) < 4 or words[0] != "submit":
        return
    if None in (sys.stdin, sys.stdout, sys.stderr):  # a socket might get its number
        return
    try:
        fd = os.open("/proc/loadavg", os.O_RDONLY | os.O_CLOEXEC)
        try:
            running = int(os.read(fd, 100).split(b"/")[0].split()[-1])
        finally:
            os.close(fd)
    except (OSError, ValueError, IndexError):
        return
    if running > _CROWD and running > _CROWD * (os.cpu_count() or 1):
        from .handover import hand_over_submit

        handover = hand_over_submit(words)


def install_finder() -> None:
    """Have the further modules of this package found by :class:`PackageFinder`.

    It is for a process of our own: whoever imports this package as a library has it
    found as any other. Such a process makes too little garbage to look for it (7 of 48
    ms, CPython 3.11), and most of that while it imports.
    """
    gc.set_threshold(50_000)
    # PYTHONPYCACHEPREFIX, a zip file, an interpreter that caches nothing: not here.
    if _TAG and sys.pycache_prefix is None and os.path.isfile(__file__):
        sys.meta_path.insert(0, PackageFinder)
