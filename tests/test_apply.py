"""Each word of a host, the columns of its job that it changes, and what it closes.

A row for each case: the job before, the word, the columns after it, and how the intents
of its request ended. ``test_apply_orders.py`` has sequences of words.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from sshjobs import errors
from sshjobs.model import Job
from sshjobs.protocol import (
    Beat,
    Claimed,
    Differs,
    Due,
    Elsewhere,
    Ended,
    Hello,
    KillMissing,
    KillSent,
    LogEnd,
    Longer,
    Lost,
    Missing,
    NoLog,
    Prepared,
    Queued,
    Reaped,
    ReapRefused,
    Refused,
    Started,
    Unforgotten,
    Unread,
    Unseen,
    Unsupervised,
)
from sshjobs.rounds.apply import ReplyApplier
from sshjobs.store import DIFFERS, SAME, SERVED, Store

if TYPE_CHECKING:
    from sshjobs.protocol import Event

pytestmark = pytest.mark.quick

ID, OTHER = "a" * 16, "b" * 16
NOW, SKEW = 1000.0, 100.0
KINDS = ("start", "kill", "reap", "forget", "log")

WAITS = Job(ID, "h", "c", "PENDING", key="k", command="true", digest="d", reason="new")
RUNS = WAITS._replace(state="RUNNING", node="node", started_at=3.0, reason="")
LOST = RUNS._replace(state="LOST", finished_at=8.0, log_bytes=9)
#: Ended, with a part of its log here; and with all of it.
ENDED = RUNS._replace(state="FAILED", finished_at=8.0, log_bytes=9, log_local_bytes=4)
HOME = ENDED._replace(log_local_bytes=9, log_final=True)
CLEANED = RUNS._replace(cleanup="always")
REAPED = HOME._replace(reaped_at=9.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "home"))
    made.sites.ensure_site("c", "h")
    return made


class Heard(NamedTuple):
    """What has come of some words."""

    columns: dict[str, Any]  #: of the job, as far as they changed
    closed: dict[str, str]  #: outcomes of intents, or the error of one that failed
    wanted: list[str]  #: kinds of intents that are new and that no process owns


def hear(
    store: Store,
    job: Job | None,
    *events: Event,
    owner: int | None = None,
    note: tuple[str, str] = ("", ""),
    kinds: tuple[str, ...] = KINDS,
) -> Heard:
    """Have a host say some words of a job of which everything was asked."""
    intents = store.intents
    with store.begin_write():
        store.jobs.add_jobs([job] if job else [])
        numbers = [intents.add_intents("c", k, [ID], owner=owner)[0] for k in kinds]
        noted = [number for kind, number in zip(kinds, numbers) if kind == note[0]]
        intents.note_error(noted, errors.JobError(ID, note[1]))
        applier = ReplyApplier(store, "c", "h", intents.list_open("c"), SKEW, NOW)
        applier.apply(list(events))
    after = store.jobs.find_job(ID)
    columns: dict[str, Any] = after._asdict() if after else {"state": None}
    before = job._asdict() if job else {"state": None}
    return Heard(
        {name: v for name, v in columns.items() if before.get(name) != v},
        {
            one.kind: str(errors.load(one.note)) if one.note else one.outcome
            for one in intents.read_outcomes(numbers).values()
            if one.done
        },
        [one.kind for one in intents.list_open("c") if one.id > max([0, *numbers])],
    )


STARTED = Started(ID, 7, 8, "99", "boot", "node2", 5.0)
END = Ended(ID, 0, None, "", "", 5.0, 6.0, 9)
START, KILL, REAP = {"start": SERVED}, {"kill": SERVED}, {"reap": SERVED}
FORGET, LOG = {"forget": SERVED}, {"log": SERVED}
ALL_ENDS = START | KILL | FORGET
GOOD_END = {"state": "COMPLETED", "exit_status": 0, "finished_at": 106.0}
CANCELLED = {
    "state": "CANCELLED",
    "finished_at": NOW,
    "reason": "cancelled before it started",
    "log_final": True,
}
VANISHED = {
    "state": "LOST",
    "finished_at": NOW,
    "reason": "its directory on the host has vanished",
    "log_final": True,
}

CASES: list[tuple[Job | None, Event, dict[str, Any], dict[str, str]]] = [
    # Starts.
    (
        WAITS,
        STARTED,
        {
            "state": "RUNNING",
            "pid": 7,
            "start": "99",
            "node": "node2",
            "started_at": 105.0,
            "reason": "",
        },
        START,
    ),
    (ENDED, STARTED, {}, START),
    (
        WAITS,
        Queued(ID, "slurm:276:main", "Priority"),
        {"reason": "Priority", "launcher": "slurm", "handle": "slurm:276:main"},
        START,
    ),
    (
        WAITS._replace(handle="slurm:1:x"),
        Queued(ID, "slurm:276", "Priority"),
        {"reason": "Priority", "launcher": "slurm"},
        START,
    ),
    (
        WAITS._replace(launcher="slurm"),
        Queued(ID, "", "waits"),
        {"reason": "waits"},
        START,
    ),
    (ENDED, Queued(ID, "slurm:276:main", "Priority"), {}, {}),
    (None, Queued(ID, "slurm:276:main", "Priority"), {}, {}),
    (WAITS, Claimed(ID, ID, 3, "PENDING", True), {"attempt": 3}, {}),
    (RUNS, Claimed(ID, OTHER, 3, "PENDING", True), {}, {}),
    (None, Claimed(ID, OTHER, 3, "PENDING", True), {}, {}),
    (
        WAITS,
        Refused(ID, "ENOSPC", "it is full"),
        {"state": None},
        {
            "start": "h: the job could not be started: it is full (make room on the "
            "host's file system, or set remote_base_dir)"
        },
    ),
    (
        None,
        Refused(ID, "EODD", "it is odd"),
        {},
        {"start": "h: the job could not be started: it is odd"},
    ),
    (WAITS, Refused(ID, "EGONE", "gone"), CANCELLED, START),
    (RUNS, Refused(ID, "EGONE", "gone"), {}, START),
    (ENDED, Refused(ID, "ENOSPC", "full"), {}, START),
    # Ends.
    (RUNS, END, GOOD_END | {"log_bytes": 9}, ALL_ENDS),
    (
        WAITS,
        END,
        GOOD_END | {"started_at": 105.0, "reason": "", "log_bytes": 9},
        ALL_ENDS,
    ),
    (
        WAITS,
        END._replace(started_at=None, finished_at=None, log_bytes=0, reason="told"),
        {
            "state": "COMPLETED",
            "exit_status": 0,
            "finished_at": NOW,
            "reason": "told",
            "log_final": True,
        },
        ALL_ENDS,
    ),
    (
        RUNS._replace(log_local_bytes=9),
        END,
        GOOD_END | {"log_bytes": 9, "log_final": True},
        ALL_ENDS,
    ),
    (RUNS._replace(log_local_bytes=8), END, GOOD_END | {"log_bytes": 9}, ALL_ENDS),
    (
        RUNS,
        END._replace(exit_status=None, signal=9, log_bytes=0),
        {
            "state": "FAILED",
            "signal": 9,
            "finished_at": 106.0,
            "reason": "ended by SIGKILL",
            "log_final": True,
        },
        ALL_ENDS,
    ),
    (
        RUNS,
        END._replace(exit_status=None, signal=99, log_bytes=1),
        {
            "state": "FAILED",
            "signal": 99,
            "finished_at": 106.0,
            "reason": "ended by signal 99",
            "log_bytes": 1,
        },
        ALL_ENDS,
    ),
    (
        RUNS,
        END._replace(exit_status=None, log_bytes=1),
        {
            "state": "FAILED",
            "finished_at": 106.0,
            "reason": "its end is recorded without a status",
            "log_bytes": 1,
        },
        ALL_ENDS,
    ),
    (
        RUNS,
        END._replace(exit_status=None, signal=15, cause="timeout", log_bytes=1),
        {"state": "TIMEOUT", "signal": 15, "finished_at": 106.0, "log_bytes": 1},
        ALL_ENDS,
    ),
    (
        RUNS,
        END._replace(exit_status=3, signal=15, log_bytes=1),
        {
            "state": "FAILED",
            "exit_status": 3,
            "signal": 15,
            "finished_at": 106.0,
            "log_bytes": 1,
        },
        ALL_ENDS,
    ),
    (ENDED, END, {}, ALL_ENDS),
    (None, END, {}, ALL_ENDS),
    (
        RUNS,
        Lost(ID, "rebooted"),
        {"state": "LOST", "finished_at": NOW, "reason": "rebooted"},
        ALL_ENDS,
    ),
    (ENDED, Missing(ID), {"reaped_at": NOW, "log_final": True}, REAP),
    (RUNS, Missing(ID), VANISHED, {}),
    (WAITS, Missing(ID), VANISHED, {}),
    (None, Missing(ID), {}, {}),
    (RUNS, Elsewhere(ID, "node7"), {"reason": "runs on node7"}, {}),
    (RUNS, Unsupervised(ID), {"reason": "its supervisor is gone; the job runs on"}, {}),
    (RUNS, Unseen(ID, "no list"), {"reason": "no list"}, {}),
    (
        RUNS,
        Unread(ID, "no number"),
        {"reason": "what the host says of it cannot be read: no number"},
        {},
    ),
    (ENDED, Unread(ID, "no number"), {}, {}),
    (None, Unread(ID, "no number"), {}, {}),
    (RUNS, KillSent(ID), {}, KILL),
    (WAITS, KillMissing(ID), CANCELLED, START | KILL),
    (RUNS, KillMissing(ID), VANISHED, KILL),
    (ENDED, KillMissing(ID), {}, START | KILL),
    (None, KillMissing(ID), {}, START | KILL),
    # Directories.
    (HOME, Reaped(ID), {"reaped_at": NOW}, REAP | FORGET),
    (None, Reaped(ID), {}, REAP | FORGET),
    (
        RUNS,
        Reaped(ID),
        {
            "state": "LOST",
            "finished_at": NOW,
            "reason": "another machine has reaped it, and no record of its end is left",
            "reaped_at": NOW,
        },
        REAP | FORGET,
    ),
    (HOME, ReapRefused(ID, "a link"), {}, {"reap": f"job {ID}: not reaped: a link"}),
    (
        RUNS,
        Unforgotten(ID, "it runs"),
        {},
        {"forget": f"job {ID}: not declared lost: it runs; sshjobs kill ends it"},
    ),
    (
        None,
        Unforgotten(ID, "it runs"),
        {},
        {"forget": f"job {ID}: not declared lost: it runs; sshjobs kill ends it"},
    ),
    (LOST, Unforgotten(ID, "it runs"), {}, FORGET),
    (HOME, Longer(ID, 10), {"log_bytes": 10, "log_final": False}, {}),
    (HOME, Longer(ID, 9), {}, {}),
    (ENDED, Longer(ID, 10), {}, {}),
    (REAPED, Longer(ID, 10), {}, {}),
    (None, Longer(ID, 10), {}, {}),
    (HOME, Differs(ID), {"log_local_bytes": 0, "log_final": False}, {}),
    (ENDED, Differs(ID), {}, {}),
    (REAPED, Differs(ID), {}, {}),
    (None, Differs(ID), {}, {}),
    # Logs.
    (ENDED, NoLog(ID, "gone"), {"reaped_at": NOW, "log_final": True}, REAP),
    (
        ENDED,
        NoLog(ID, "a link"),
        {},
        {
            "reap": f"job {ID}: not reaped: a link",
            "log": f"job {ID}: its log cannot be read: a link",
        },
    ),
    (RUNS, NoLog(ID, "gone"), {}, {}),
    (None, NoLog(ID, "gone"), {}, {}),
    (RUNS, LogEnd(ID, 0, 4, 6), {"log_local_bytes": 4, "log_bytes": 6}, {}),
    (RUNS, LogEnd(ID, 0, 4, 3), {"log_local_bytes": 4, "log_bytes": 4}, {}),
    (RUNS, LogEnd(ID, 1, 4, 6), {}, {}),
    (
        RUNS._replace(log_bytes=7, log_local_bytes=5),
        LogEnd(ID, 5, 1, 6),
        {"log_local_bytes": 6},
        {},
    ),
    (RUNS._replace(log_bytes=7, log_local_bytes=5), LogEnd(ID, 0, 3, 6), {}, {}),
    (ENDED, LogEnd(ID, 4, 4, 99), {"log_local_bytes": 8}, {}),
    (ENDED, LogEnd(ID, 4, 5, 99), {"log_local_bytes": 9, "log_final": True}, {}),
    (LOST, LogEnd(ID, 0, 9, 11), {"log_local_bytes": 9, "log_bytes": 11}, {}),
    (
        LOST,
        LogEnd(ID, 0, 12, 11),
        {"log_local_bytes": 12, "log_bytes": 12, "log_final": True},
        {},
    ),
    (None, LogEnd(ID, 0, 4, 6), {}, {}),
    (RUNS, Prepared(ID), {}, {}),
    (RUNS, Beat(), {}, {}),
]


@pytest.mark.parametrize(("job", "event", "columns", "closed"), CASES)
def test_a_word_changes_these_columns_and_closes_these_intents(
    store: Store,
    job: Job | None,
    event: Event,
    columns: dict[str, Any],
    closed: dict[str, str],
) -> None:
    heard = hear(store, job, event)
    assert (heard.columns, heard.closed) == (columns, closed)


@pytest.mark.parametrize(
    "event",
    [
        STARTED,
        END,
        Lost(ID, "x"),
        Missing(ID),
        Reaped(ID),
        LogEnd(ID, 0, 4, 6),
        KillSent(ID),
    ],
)
def test_a_host_has_no_say_in_a_job_of_another_site(store: Store, event: Event) -> None:
    heard = hear(store, RUNS._replace(site_id="d"), event)
    assert heard == Heard({}, {}, [])


# -- what follows from more than the job and the word --------------------------------


def test_the_first_word_on_an_intent_counts(store: Store) -> None:
    words = ReapRefused(ID, "a link"), Reaped(ID)
    heard = hear(store, HOME, *words)
    assert heard.closed == {"reap": f"job {ID}: not reaped: a link"} | FORGET


def test_all_who_want_the_same_are_answered(store: Store) -> None:
    first = store.intents.add_intents("c", "kill", [ID])
    assert hear(store, RUNS, KillSent(ID)).closed == KILL
    assert [i.outcome for i in store.intents.read_outcomes(first).values()] == [SERVED]


@pytest.mark.parametrize("job", [WAITS, RUNS])
def test_another_machine_of_that_name_says_nothing_of_a_job_that_runs(
    store: Store, job: Job
) -> None:
    hello = Hello("other", 1.0)
    heard = hear(store, job, hello, Missing(ID))
    assert heard.columns == (VANISHED if job is WAITS else {"reason": "runs on node"})


def test_the_machine_itself_knows_that_a_job_has_vanished(store: Store) -> None:
    hello = Hello("node", 1.0)
    assert hear(store, RUNS, hello, Missing(ID)).columns == VANISHED


@pytest.mark.parametrize("kinds", [("start",), ("start", "kill")])
def test_who_runs_though_told_to_end_is_told_once_more(
    store: Store, kinds: tuple[str, ...]
) -> None:
    heard = hear(store, RUNS, Due(ID), kinds=kinds)
    assert heard == Heard({}, {}, [] if "kill" in kinds else ["kill"])
    assert store.intents.has_unowned("c") == ("kill" not in kinds)


def test_what_is_lost_and_runs_is_ended(store: Store) -> None:
    heard = hear(store, LOST, Unforgotten(ID, "it runs"), kinds=("forget",))
    assert heard == Heard({}, FORGET, ["kill"])
    assert store.intents.has_unowned("c")


def test_a_start_that_nobody_waits_for_ends_its_job(store: Store) -> None:
    """A user has its id: it cannot be as if it had never been asked for."""
    full = Refused(ID, "ENOSPC", "it is full")
    heard = hear(store, WAITS, full, owner=0)
    reason = "the job could not be started: it is full"
    assert heard.columns == CANCELLED | {"state": "FAILED", "reason": reason}
    assert heard.closed == START


def test_a_start_without_an_intent_is_forgotten(store: Store) -> None:
    full = Refused(ID, "ENOSPC", "it is full")
    assert hear(store, WAITS, full, kinds=("kill",)).columns == {"state": None}


# -- keys ----------------------------------------------------------------------------


@pytest.mark.parametrize("same", [True, False])
def test_the_holder_of_a_key_is_known_by_what_was_asked(
    store: Store, same: bool
) -> None:
    job = WAITS._replace(cleanup="always")
    claimed = Claimed(ID, OTHER, 3, "RUNNING", same)
    heard = hear(store, job, claimed)
    assert heard.columns == {"state": None}
    assert heard.closed == {"start": SAME if same else DIFFERS}
    assert store.jobs.find_job(OTHER) == job._replace(
        id=OTHER,
        attempt=3,
        cleanup="never",
        reason="",
        command="true" if same else "",
        digest="d" if same else "",
    )


def test_a_holder_that_is_known_stays_as_it_is(store: Store) -> None:
    holder = RUNS._replace(id=OTHER)
    store.jobs.add_jobs([holder])
    heard = hear(store, WAITS, Claimed(ID, OTHER, 3, "RUNNING", True))
    assert heard.closed == {"start": SAME}
    assert store.jobs.find_job(OTHER) == holder


@pytest.mark.parametrize(("said", "taken"), [("RUNNING", False), ("FAILED", True)])
def test_a_holder_that_was_declared_lost_and_runs_is_no_winner(
    store: Store, said: str, taken: bool
) -> None:
    store.jobs.add_jobs([LOST._replace(id=OTHER)])
    heard = hear(store, WAITS, Claimed(ID, OTHER, 1, said, True))
    assert heard.closed == ({"start": SAME} if taken else {})
    assert heard.columns == ({"state": None} if taken else {})


def test_a_job_whose_id_a_user_has_is_not_forgotten_for_the_holder(
    store: Store,
) -> None:
    claimed = Claimed(ID, OTHER, 1, "RUNNING", True)
    heard = hear(store, WAITS, claimed, owner=0)
    reason = f"never ran: job {OTHER} holds its key"
    assert heard.columns == CANCELLED | {"reason": reason, "key": ""}
    assert heard.closed == START
    winner = store.jobs.find_job(OTHER)
    assert winner is not None and winner.key == "k"


def test_a_holder_of_another_host_is_named(store: Store) -> None:
    store.jobs.add_jobs([RUNS._replace(id=OTHER, host="there", site_id="d")])
    heard = hear(store, WAITS, Claimed(ID, OTHER, 1, "RUNNING", True))
    assert heard.columns == {"state": None}
    assert heard.closed["start"].startswith(
        f"h: it says that job {OTHER} holds the key, which this machine knows as a job "
        "of there"
    )


# -- logs that are not as they were ---------------------------------------------------


@pytest.mark.parametrize("word", [Longer(ID, 10), Differs(ID)])
def test_a_log_that_has_to_come_leaves_the_reap_open(store: Store, word: Event) -> None:
    heard = hear(store, HOME, word, ReapRefused(ID, "not now"))
    assert "reap" not in heard.closed


@pytest.mark.parametrize("word", [Longer(ID, 9), Differs(ID)])
def test_a_log_that_is_as_it_was_does_not(store: Store, word: Event) -> None:
    job = HOME if isinstance(word, Longer) else REAPED
    heard = hear(store, job, word, ReapRefused(ID, "not now"))
    assert heard.closed == {"reap": f"job {ID}: not reaped: not now"}


def test_a_log_is_brought_anew_once(store: Store) -> None:
    """The note of its intent tells that it was tried; so nothing is begun again."""
    heard = hear(store, HOME, Differs(ID))
    assert heard.columns == {"log_local_bytes": 0, "log_final": False}
    (note,) = [one.note for one in store.intents.list_open("c") if one.kind == "reap"]
    assert "differ, and it could not be brought anew" in str(errors.load(note))
    store.jobs.forget_jobs([ID])
    assert hear(store, HOME, Differs(ID), note=("reap", "tried")).columns == {}
    store.jobs.forget_jobs([ID])
    assert hear(store, HOME, Differs(ID), note=("log", "tried")).columns


def test_who_wants_no_directory_gone_has_no_log_brought_anew(store: Store) -> None:
    assert hear(store, HOME, Differs(ID), kinds=("log",)).columns == {}


@pytest.mark.parametrize(("note", "more"), [("", ""), ("x", ", though it was brought")])
def test_a_refused_reap_tells_what_was_tried(
    store: Store, note: str, more: str
) -> None:
    refused = ReapRefused(ID, "a link")
    told = hear(store, HOME, refused, note=("reap" * bool(note), note)).closed["reap"]
    assert told.startswith(f"job {ID}: not reaped: a link{more}")
    assert ("anew" in told) == bool(note)


# -- what needs its spec, and what is cleaned up --------------------------------------


@pytest.mark.parametrize(
    ("job", "word", "done"),
    [
        (WAITS, STARTED, [ID]),
        (WAITS, Prepared(ID), []),
        (WAITS, Refused(ID, "ENOSPC", "full"), [ID]),
        (RUNS, Elsewhere(ID, "n"), [ID]),
        (WAITS, Claimed(ID, OTHER, 1, "RUNNING", True), [ID]),
    ],
)
def test_a_job_that_waits_keeps_its_spec(
    store: Store, job: Job, word: Event, done: list[str]
) -> None:
    store.jobs.add_jobs([job])
    store.intents.add_intents("c", "start", [ID])
    applier = ReplyApplier(store, "c", "h", store.intents.list_open("c"), SKEW, NOW)
    with store.begin_write():
        assert applier.apply([word]) == done


@pytest.mark.parametrize(
    ("job", "words", "wanted"),
    [
        (CLEANED, [END], ["reap"]),
        (CLEANED, [END, END], ["reap"]),
        (CLEANED, [Elsewhere(ID, "n")], []),
        (ENDED._replace(cleanup="always"), [END], []),
        (ENDED._replace(cleanup="always"), [LogEnd(ID, 4, 5, 9)], []),
        (CLEANED._replace(cleanup="on_success"), [END._replace(exit_status=1)], []),
        (RUNS, [END], []),
    ],
)
def test_a_directory_is_wanted_gone_once_its_job_ends(
    store: Store, job: Job, words: list[Event], wanted: list[str]
) -> None:
    heard = hear(store, job, *words, kinds=("start",))
    assert heard.wanted == wanted
    assert store.intents.has_unowned("c") == bool(wanted)
