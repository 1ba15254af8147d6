"""Intents: a row for each thing that is asked of a host and not yet served."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sshjobs.errors import JobError, StoreError, load
from sshjobs.model import Job
from sshjobs.processes import read_start_time
from sshjobs.store import DIFFERS, FAILED, SERVED, Intent, Store

pytestmark = pytest.mark.quick

ONE, TWO, THREE, FOUR = (letter * 16 for letter in "abcd")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "home"))


def read(store: Store, number: int) -> Intent:
    return store.intents.read_outcomes([number])[number]


def dead_pid() -> int:
    """Return the number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def change(store: Store, column: str, value: object) -> None:
    """Spoil a column of all intents."""
    with store.begin_write():
        store._database.execute_sql(f"UPDATE intents SET {column} = ?", [value])


def test_an_intent_is_of_the_process_that_wrote_it(store: Store) -> None:
    me, nobody = os.getpid(), 0
    mine, theirs, free = (
        store.intents.add_intents("c", "kill", [ONE], owner=owner)[0]
        for owner in (None, dead_pid(), nobody)
    )
    intent = read(store, mine)
    assert (intent.pid, intent.pid_start) == (me, read_start_time(me))
    assert (intent.site_id, intent.kind, intent.job_id) == ("c", "kill", ONE)
    assert (intent.sent, intent.done, intent.note, intent.outcome) == (0, 0, "", "")
    assert read(store, theirs).pid_start == "" != read(store, mine).pid_start
    assert (read(store, free).pid, read(store, free).pid_start) == (0, "")


def test_numbers_come_in_the_order_of_the_ids(store: Store) -> None:
    numbers = store.intents.add_intents("c", "start", [THREE, ONE, TWO])
    assert numbers == sorted(numbers)
    assert [i.job_id for i in store.intents.list_open("c")] == [THREE, ONE, TWO]
    assert store.intents.add_intents("c", "start", []) == []
    assert store.intents.read_outcomes([numbers[1], 99]).keys() == {numbers[1]}
    store.intents.drop_intents(numbers[:2])
    assert [i.job_id for i in store.intents.list_open("c")] == [TWO]
    assert store.intents.list_open("d") == []


@pytest.mark.parametrize(("count", "pages"), [(10, 1), (11, 2), (20, 2), (21, 3)])
def test_of_more_than_a_request_holds_there_are_so_many_turns(
    store: Store, count: int, pages: int
) -> None:
    ids = [f"{n:016d}" for n in range(count)]
    reaps = store.intents.add_intents("c", "reap", ids)
    for turn in range(2 * pages):
        begin = turn % pages * 10
        found = [intent.id for intent in store.intents.list_open("c", 10, turn)]
        assert found == reaps[begin : begin + 10]


def test_without_a_word_a_thousand_of_a_kind_are_taken(store: Store) -> None:
    reaps = store.intents.add_intents("c", "reap", [f"{n:016d}" for n in range(1001)])
    assert [intent.id for intent in store.intents.list_open("c")] == reaps[:1000]


def test_kinds_are_mixed_in_the_order_of_their_numbers(store: Store) -> None:
    numbers = []
    for kind in ("reap", "start", "kill", "start", "log", "reap"):
        numbers += store.intents.add_intents("c", kind, [ONE])
    assert [intent.id for intent in store.intents.list_open("c")] == numbers


@pytest.mark.parametrize(
    ("kind", "owner", "is_crowd"),
    [("start", None, False), ("start", 0, True), ("log", 0, False), ("reap", 1, True)],
)
def test_a_crowd_is_what_other_processes_wait_for(
    store: Store, kind: str, owner: int | None, is_crowd: bool
) -> None:
    assert store.intents.has_crowd("c") is False
    numbers = store.intents.add_intents("c", kind, [ONE], owner=owner)
    assert store.intents.has_crowd("c") is is_crowd
    assert store.intents.has_crowd("d") is False
    store.intents.serve_intents(numbers)
    assert store.intents.has_crowd("c") is False


def test_what_waits_is_counted(store: Store) -> None:
    assert (
        store.intents.count_waiting("c") == store.intents.count_unserved([]) == (0, 0)
    )
    assert store.intents.find_newest("c") == 0
    numbers = store.intents.add_intents("c", "kill", [ONE, TWO, THREE])
    log = store.intents.add_intents("c", "log", [ONE])
    store.intents.mark_sent(numbers[:2])
    assert store.intents.count_waiting("c") == (3, 1)
    assert store.intents.count_unserved([*numbers, *log]) == (4, 2)
    store.intents.mark_unsent(numbers[:1])
    assert store.intents.count_unserved(numbers[:2]) == (2, 1)
    assert store.intents.find_newest("c") == log[0]
    store.intents.serve_intents([*log, *numbers[1:]])
    assert store.intents.find_newest("c") == numbers[0]


def test_the_open_start_of_a_job_is_found(store: Store) -> None:
    assert store.intents.find_start(ONE) is None and not store.intents.has_open(
        "start", ONE
    )
    store.intents.add_intents("c", "kill", [ONE])
    assert store.intents.find_start(ONE) is None and not store.intents.has_open(
        "start", ONE
    )
    numbers = store.intents.add_intents("c", "start", [ONE])
    found = store.intents.find_start(ONE)
    assert found is not None and found.id == numbers[0]
    assert store.intents.has_open("start", ONE) and not store.intents.has_open(
        "start", TWO
    )
    store.intents.serve_intents(numbers)
    assert store.intents.find_start(ONE) is None and not store.intents.has_open(
        "start", ONE
    )


def test_what_is_left_open_has_no_owner(store: Store) -> None:
    done, left, kept = store.intents.add_intents("c", "kill", [ONE, TWO, THREE])
    store.intents.serve_intents([done])
    assert not store.intents.has_unowned("c")
    store.intents.leave_open([done, left])
    assert (read(store, left).pid, read(store, left).pid_start) == (0, "")
    assert read(store, done).pid == read(store, kept).pid == os.getpid()
    assert store.intents.has_unowned("c") and not store.intents.has_unowned("d")


def test_a_start_whose_id_a_user_has_is_waited_for_by_its_holder(store: Store) -> None:
    (start,) = store.intents.add_intents("c", "start", [ONE])
    (kill,) = store.intents.add_intents("c", "kill", [ONE])
    store.intents.disown_starts([ONE])
    assert (read(store, start).pid, read(store, start).pid_start) == (0, "")
    assert read(store, kill).pid == os.getpid()
    assert not store.intents.has_unowned("c")


def test_the_first_outcome_of_an_intent_stays(store: Store) -> None:
    one, two, three = store.intents.add_intents("c", "start", [ONE, TWO, THREE])
    store.intents.serve_intents([one], DIFFERS)
    store.intents.fail_intents([two], JobError(TWO, "not so"))
    store.intents.serve_intents([one, two, three])
    told = [read(store, number).outcome for number in (one, two, three)]
    assert told == [DIFFERS, FAILED, SERVED]
    assert str(load(read(store, two).note)) == f"job {TWO}: not so"
    assert store.intents.list_open("c") == []


def test_a_note_leaves_an_intent_open(store: Store) -> None:
    one, two = store.intents.add_intents("c", "reap", [ONE, TWO])
    store.intents.note_error([one], JobError(ONE, "not yet"))
    assert str(load(read(store, one).note)) == f"job {ONE}: not yet"
    assert read(store, two).note == ""
    assert [i.id for i in store.intents.list_open("c")] == [one, two]


def test_an_outcome_that_no_version_writes_is_damage(store: Store) -> None:
    (number,) = store.intents.add_intents("c", "reap", [ONE])
    change(store, "outcome", SERVED)
    with pytest.raises(StoreError):
        read(store, number)
    change(store, "done", 1)
    assert read(store, number).outcome == SERVED
    for wrong in ("", "odd"):
        change(store, "outcome", wrong)
        with pytest.raises(StoreError):
            read(store, number)


def test_what_was_sent_stays_and_what_was_served_is_dropped(store: Store) -> None:
    store.jobs.add_jobs(Job(i, "h", "c", "PENDING") for i in (ONE, TWO, THREE, FOUR))
    unsent, sent, served = store.intents.add_intents("c", "start", [ONE, TWO, THREE])
    (kill,) = store.intents.add_intents("c", "kill", [FOUR])
    store.intents.mark_sent([sent, served])
    store.intents.serve_intents([served])
    gone = store.intents.withdraw_intents([unsent, sent, served, kill])
    assert gone == ([ONE], [TWO])
    assert [i.id for i in store.intents.list_open("c")] == [sent]
    assert store.intents.read_outcomes([unsent, served, kill]) == {}
    assert list(store.jobs.find_jobs([ONE, TWO, THREE, FOUR])) == [TWO, THREE, FOUR]


def test_a_start_that_was_answered_before_it_was_sent_keeps_its_job(
    store: Store,
) -> None:
    store.jobs.add_jobs([Job(ONE, "h", "c", "RUNNING")])
    numbers = store.intents.add_intents("c", "start", [ONE])
    store.intents.serve_intents(numbers)
    assert store.intents.withdraw_intents(numbers) == ([], [])
    assert (
        store.jobs.find_job(ONE) is not None
        and store.intents.read_outcomes(numbers) == {}
    )


def test_who_wanted_a_start_hears_of_the_holder_of_the_key(store: Store) -> None:
    start, kill = (
        store.intents.add_intents("c", kind, [ONE])[0] for kind in ("start", "kill")
    )
    store.intents.redirect_start(ONE, TWO)
    assert (read(store, start).job_id, read(store, kill).job_id) == (TWO, ONE)


# -- intents of the dead -------------------------------------------------------------

TTL, AT = 3600.0, 10_000.0


@pytest.mark.parametrize(
    ("kind", "owner", "created", "fate"),
    [
        ("kill", "dead", AT - 3601.0, "expired"),
        ("kill", "dead", AT - 3600.0, "open"),
        ("kill", "dead", AT + 3600.0, "open"),
        ("kill", "dead", AT + 3601.0, "expired"),
        ("kill", "nobody", AT - 3601.0, "expired"),
        ("kill", "nobody", AT, "open"),
        ("kill", "me", AT - 9999.0, "open"),
        ("forget", "nobody", AT - 9999.0, "open"),
        ("forget", "dead", AT - 9999.0, "expired"),
        ("log", "dead", AT, "gone"),
        ("log", "dead", AT - 9999.0, "gone"),
        ("log", "nobody", AT, "gone"),
        ("log", "me", AT, "open"),
    ],
)
def test_intents_of_the_dead_stay_for_a_while(
    store: Store, kind: str, owner: str, created: float, fate: str
) -> None:
    pid = {"dead": dead_pid(), "nobody": 0, "me": None}[owner]
    (number,) = store.intents.add_intents("c", kind, [ONE], owner=pid)
    change(store, "created_at", created)
    stale = store.intents.expire_intents("c", TTL, AT)
    assert [one.id for one in stale] == ([number] if fate == "expired" else [])
    found = store.intents.read_outcomes([number]).get(number)
    if fate == "gone":
        assert found is None
    elif fate == "open":
        assert found is not None and not found.done
    elif created > AT - TTL:
        assert found is not None and found.outcome == FAILED
        assert "expired" in str(load(found.note))
    else:
        assert found is None


@pytest.mark.parametrize(
    ("created", "stays"), [(AT - 3601.0, False), (AT - 3600, True)]
)
def test_what_was_served_long_ago_is_dropped(
    store: Store, created: float, stays: bool
) -> None:
    (number,) = store.intents.add_intents("c", "kill", [ONE])
    store.intents.serve_intents([number])
    change(store, "created_at", created)
    store.intents.expire_intents("d", TTL, AT)
    assert (number in store.intents.read_outcomes([number])) == stays


def test_of_another_site_nothing_expires(store: Store) -> None:
    (number,) = store.intents.add_intents("c", "kill", [ONE], owner=0)
    change(store, "created_at", 0.0)
    assert store.intents.expire_intents("d", TTL, AT) == []
    assert not read(store, number).done
