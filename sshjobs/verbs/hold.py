"""The jobs of a submit that wait here, since one before them is on another host."""

from __future__ import annotations

import time

from .. import states
from ..launchers.before import HELD_HERE, add_after, split_after
from ..model import Job, Spec
from ..rounds.held import settle_held
from ..startup.records import TYPE_CHECKING
from ..store import Store

if TYPE_CHECKING:
    from collections.abc import Collection


class BatchHolds:
    """The jobs of one batch that wait here.

    Args:
        store: The store.
        named: The ids of those jobs of the batch that others may come after.
        is_pool: All that come after others wait here: the batch goes to several hosts.
    """

    def __init__(
        self, store: Store, named: Collection[str] = (), *, is_pool: bool = False
    ) -> None:
        self._store = store
        self._named = named
        self._is_pool = is_pool
        self._words: dict[str, str] = {}  # by the id of the job that waits
        self._held = {one.job_id for one in store.held.list_held()}

    def __len__(self) -> int:
        return len(self._words)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._words

    def take_spec(self, job: Job, spec: Spec) -> Spec:
        """Return the spec of a job as its host is to have it.

        A job that the record does not know is the host's to ask about: another machine
        may have submitted it there.
        """
        bare, words = split_after(spec)
        if not words:
            return spec
        facts = self._store.held.find_facts(word[:16] for word in words)
        theirs: list[str] = []
        ours: list[str] = []
        is_held = spec.launcher in HELD_HERE or self._is_pool
        for word in words:
            job_id, _, how = word.partition(":")
            other = facts.get(job_id)
            if other is None and not (job_id in self._named or job_id in self._words):
                theirs.append(word)
                continue
            met = (states.COMPLETED,) if how == "ok" else states.FINAL
            if other is not None and other.state in met:
                continue  # its host may have forgotten it
            ours.append(word)
            is_elsewhere = other is not None and other.site_id != job.site_id
            if is_elsewhere or job_id in self._held or job_id in self._words:
                is_held = True
        if not (is_held and ours):
            return add_after(bare, ours + theirs)
        self._words[job.id] = " ".join(ours)
        return add_after(bare, theirs)

    def write_down(self) -> list[int]:
        """Write the starts that wait here; return the numbers of their intents.

        It is called in the transaction of their jobs: what ended since the look at the
        record counts.
        """
        self._store.files.sync_specs(self._words)
        numbers = self._store.held.hold_starts(self._words)
        settle_held(self._store, time.time())
        return numbers
