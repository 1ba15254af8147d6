"""Long jobs on hosts that you can only reach by SSH, over one connection.

>>> from sshjobs import Host
>>> job = Host("gpu1").submit("echo hello")
>>> job.wait().log(text=True)
'hello\\n'

The Python API is :class:`Host`, :class:`Job`, :func:`find`, :func:`wait` and
:func:`as_completed`; its errors are in :mod:`sshjobs.errors`. Each name is imported at
its first use, so that ``import sshjobs`` costs nothing.
"""

__version__ = "0.1.0"

#: Type checkers take this name for true; see ``startup/records.py``.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from . import errors
    from .api import (
        ALL_COMPLETED,
        FIRST_COMPLETED,
        FIRST_EXCEPTION,
        Completed,
        Host,
        Job,
        as_completed,
        find,
        wait,
    )
    from .errors import SshJobsError

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "Completed",
    "Host",
    "Job",
    "SshJobsError",
    "as_completed",
    "errors",
    "find",
    "wait",
]


def __getattr__(name: str) -> object:
    """Return a name of the API, imported at its first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    room = "errors" if name in ("errors", "SshJobsError") else "api"
    module = import_module(f".{room}", __name__)
    found = module if name == "errors" else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
