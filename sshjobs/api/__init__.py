"""The Python API: hosts and jobs as objects, over the verbs.

Every process and thread that uses it, and every command line of this user on this
machine, works on the same record and over the same connections.

**Threads.** A :class:`Host` and a :class:`Job` may be used from any number of threads
at once, and so may :func:`find`, :func:`wait` and :func:`as_completed`: each call has a
store of its own while it is under way. An iterator (of :meth:`Job.follow` or
:func:`as_completed`) is for one thread at a time. After a fork both processes may go
on with the same objects.
"""

from .crowd import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    DoneAndNotDone,
    as_completed,
    find,
    wait,
)
from .host import Host
from .job import Completed, Job

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "Completed",
    "DoneAndNotDone",
    "Host",
    "Job",
    "as_completed",
    "find",
    "wait",
]
