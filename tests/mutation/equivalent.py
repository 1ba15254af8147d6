"""Mutants that change nothing that anybody could notice, each with the reason.

They are counted apart, and are at most one in twenty of a module. An entry that fits
no mutant, or one that a test notices, fails the run: then it is to go.
"""

from __future__ import annotations

from typing import NamedTuple


class Equivalent(NamedTuple):
    """A mutant as ``inv mutate`` shows it, and why no test can tell it apart."""

    module: str
    scope: str
    before: str
    after: str
    reason: str


EQUIVALENT: tuple[Equivalent, ...] = ()
