"""Every verb and every flag, with its help: the one table of the command line.

The console script (``parser.py``), the Invoke tasks (``tasks.py``) and
``docs/reference/command-line.md`` are all made from :func:`read_verbs`, so that the
three cannot drift (docs/decisions/0001-one-manual.md). ``handlers.py`` carries
out a call: it is given the verb's name and a plain dict, in which every
argument of the verb has an entry under :attr:`Arg.dest`.
"""

from __future__ import annotations

from ..startup.records import TYPE_CHECKING
from . import manual_jobs
from .arguments import EVERYWHERE

if TYPE_CHECKING:
    from .arguments import Verb


def find_verb(name: str) -> Verb | None:
    """Return the verb of this name, and None if there is none.

    A submit or a poll reads the pages of a job's verbs only.
    """
    for verb in manual_jobs.VERBS:
        if verb.name == name:
            return verb._replace(args=(*verb.args, *EVERYWHERE))
    return next((verb for verb in read_verbs() if verb.name == name), None)


def read_verbs() -> tuple[Verb, ...]:
    """Return all verbs, in the order in which the pages show them."""
    from . import manual_hosts, manual_views

    pages = (manual_jobs.VERBS, manual_views.VERBS, manual_hosts.VERBS)
    return tuple(
        verb._replace(args=(*verb.args, *EVERYWHERE)) for page in pages for verb in page
    )
