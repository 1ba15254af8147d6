"""What a host says, brought into the store, in any order and any number of times."""

from __future__ import annotations

import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sshjobs import errors, protocol, states
from sshjobs.model import Job, Spec, new_job_id
from sshjobs.rounds.apply import ReplyApplier
from sshjobs.rounds.log_state import is_log_home
from sshjobs.store import DIFFERS, SAME, SLICE, Store

pytestmark = pytest.mark.quick

ID, OTHER = "a" * 16, "b" * 16
NOW = 1000.0


def ledger(store: Store, skew: float = 0.0) -> ReplyApplier:
    return ReplyApplier(store, "c", "h", store.intents.list_open("c"), skew, NOW)


def begin(store: Store, **changes: object) -> Job:
    job = Job(id=ID, host="h", site_id="c", state=states.PENDING, key="k")
    job = job._replace(**changes)  # type: ignore[arg-type]
    store.files.save_spec(ID, Spec(b"true"))
    store.sites.ensure_site("c", "h")
    with store.begin_write():
        store.jobs.add_jobs([job])
        store.intents.add_intents("c", "start", [ID])
    return job


@pytest.fixture
def store(tmp_path: object) -> Store:
    return Store(f"{tmp_path}/home")


def tell(store: Store, *facts: protocol.Event) -> Job | None:
    with store.begin_write():
        ledger(store).apply(list(facts))
    return store.jobs.find_job(ID)


STARTED = protocol.Started(ID, 7, 8, "99", "boot", "node", 5.0)
GOOD = protocol.Ended(ID, 0, None, "", "", 5.0, 6.0, 3)
FACTS = st.sampled_from(
    [
        STARTED,
        GOOD,
        protocol.Ended(ID, 3, None, "", "x", None, None, 0),
        protocol.Ended(ID, None, 9, "", "", 5.0, 6.0, 3),
        protocol.Ended(ID, None, 15, "cancelled", "", 5.0, 6.0, 3),
        protocol.Ended(ID, None, 15, "timeout", "", 5.0, 6.0, 3),
        protocol.Lost(ID, "rebooted"),
        protocol.Missing(ID),
        protocol.Prepared(ID),
        protocol.KillSent(ID),
        protocol.KillMissing(ID),
        protocol.Elsewhere(ID, "n"),
        protocol.Unsupervised(ID),
        protocol.Due(ID),
        protocol.Unseen(ID, "not listed"),
        protocol.Reaped(ID),
        protocol.ReapRefused(ID, "no"),
        protocol.Longer(ID, 9),
        protocol.NoLog(ID, "gone"),
        protocol.NoLog(ID, "a link"),
        protocol.LogEnd(ID, 0, 3, 3),
        protocol.LogEnd(ID, 3, 2, 5),
        protocol.LogEnd(ID, 9, 2, 11),
        protocol.Refused(ID, "EGONE", "gone"),
        protocol.Beat(),
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(FACTS, max_size=4), max_size=6))
def test_an_end_stays_and_logs_only_grow(replies: list[list[protocol.Event]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder + "/home")
        before = begin(store)
        for facts in replies:
            job = tell(store, *facts)
            assert job is not None
            if states.is_final(before.state):
                assert job.state == before.state
                assert job.exit_status == before.exit_status
                assert job.finished_at == before.finished_at
            assert job.log_local_bytes >= before.log_local_bytes
            before = job
        store.close()


def test_what_cannot_be_read_is_the_reason_of_a_job(store: Store) -> None:
    begin(store)
    job = tell(
        store, protocol.Unread(ID, "started: no number"), protocol.Unread("", "x")
    )
    assert job is not None and job.state == states.PENDING
    assert job.reason == "what the host says of it cannot be read: started: no number"
    ended = tell(store, GOOD, protocol.Unread(ID, "more"))
    assert ended is not None and (ended.state, ended.reason) == ("COMPLETED", "")


def test_a_job_that_has_started_is_not_forgotten(store: Store) -> None:
    begin(store)
    refused = protocol.Refused(ID, "ENOSPC", "no space left")
    job = tell(store, STARTED, refused)
    assert job is not None and job.state == states.RUNNING


def test_reaped_without_an_end_is_lost(store: Store) -> None:
    begin(store)
    job = tell(store, STARTED, protocol.Reaped(ID))
    assert job is not None and (job.state, job.exit_status) == ("LOST", None)
    assert "another machine has reaped it" in job.reason


def test_a_job_that_started_needs_its_spec_no_more(store: Store) -> None:
    begin(store)
    with store.begin_write():
        useless = ledger(store).apply([STARTED])
    assert useless == [ID]
    assert store.intents.list_open("c") == []


def test_a_job_that_is_only_prepared_is_still_wanted(store: Store) -> None:
    begin(store)
    with store.begin_write():
        assert ledger(store).apply([protocol.Prepared(ID)]) == []
    assert [intent.job_id for intent in store.intents.list_open("c")] == [ID]


def test_an_ended_job_is_home_with_its_last_byte(store: Store) -> None:
    begin(store)
    assert not is_log_home(tell(store, STARTED, GOOD))
    assert not is_log_home(tell(store, protocol.LogEnd(ID, 0, 2, 3)))
    assert is_log_home(tell(store, protocol.LogEnd(ID, 2, 1, 3)))


def test_a_gap_in_a_log_does_not_count(store: Store) -> None:
    begin(store)
    job = tell(store, STARTED, protocol.LogEnd(ID, 5, 5, 10))
    assert job is not None and job.log_local_bytes == 0


def test_a_start_that_was_refused_leaves_its_reason(store: Store) -> None:
    begin(store)
    (intent,) = store.intents.list_open("c")
    assert tell(store, protocol.Refused(ID, "ENOSPC", "no space left")) is None
    error = errors.load(store.intents.read_outcomes([intent.id])[intent.id].note)
    assert isinstance(error, errors.HostError)
    assert "no space left" in str(error) and "make room" in str(error)


def test_a_key_that_another_holds_leads_to_its_job(store: Store) -> None:
    begin(store)
    (intent,) = store.intents.list_open("c")
    claimed = protocol.Claimed(ID, OTHER, 2, states.FAILED, False)
    ended = protocol.Ended(OTHER, 3, None, "", "", 1.0, 2.0, 9)
    tell(store, claimed, ended)
    assert store.jobs.find_job(ID) is None
    assert store.files.read_spec(ID) is None
    winner = store.jobs.find_job(OTHER)
    assert winner is not None
    assert (winner.state, winner.exit_status, winner.attempt) == ("FAILED", 3, 2)
    outcome = store.intents.read_outcomes([intent.id])[intent.id]
    assert (outcome.job_id, outcome.outcome, outcome.note) == (OTHER, DIFFERS, "")


@pytest.mark.parametrize(("host", "key"), [("h", "k"), ("h", "x"), ("other", "k")])
def test_a_holder_of_another_site_counts_for_the_same_host_and_key(
    store: Store, host: str, key: str
) -> None:
    """As after a change of ssh_config; but nothing more is believed of that job."""
    begin(store)
    (intent,) = store.intents.list_open("c")
    old = Job(id=OTHER, host=host, site_id="d", state=states.RUNNING, key=key)
    store.jobs.add_jobs([old])
    claimed = protocol.Claimed(ID, OTHER, 1, states.COMPLETED, True)
    ended = protocol.Ended(OTHER, 0, None, "", "", 1.0, 2.0, 9)
    assert tell(store, claimed, ended) is None
    assert store.jobs.find_job(OTHER) == old
    outcome = store.intents.read_outcomes([intent.id])[intent.id]
    if (host, key) == ("h", "k"):
        assert (outcome.job_id, outcome.outcome, outcome.note) == (OTHER, SAME, "")
    else:
        assert f"a job of {host}" in outcome.note


def test_what_is_said_late_in_a_long_reply_counts_as_well(store: Store) -> None:
    begin(store)
    (intent,) = store.intents.list_open("c")
    claimed = protocol.Claimed(ID, OTHER, 2, states.FAILED, False)
    others = [new_job_id() for _ in range(2 * SLICE)]
    store.jobs.add_jobs(
        Job(id=i, host="h", site_id="c", state="PENDING") for i in others
    )
    started = [STARTED._replace(job_id=job_id) for job_id in others]
    late = protocol.Ended(OTHER, 3, None, "", "", 1.0, 2.0, 9)
    with store.begin_write():
        useless = ledger(store).apply([claimed, *started, GOOD, STARTED, late])
    assert useless == sorted([ID, OTHER, *others])
    assert store.jobs.find_job(ID) is None
    assert all(job.state == "RUNNING" for job in store.jobs.find_jobs(others).values())
    winner = store.jobs.find_job(OTHER)
    assert winner is not None and winner.state == "FAILED"
    assert store.intents.read_outcomes([intent.id])[intent.id].done == 1


def test_the_clock_of_the_host_is_set_right(store: Store) -> None:
    begin(store)
    with store.begin_write():
        ledger(store, skew=100.0).apply([STARTED, GOOD])
    job = store.jobs.find_job(ID)
    assert job is not None
    assert (job.started_at, job.finished_at) == (105.0, 106.0)


@pytest.mark.parametrize(
    ("cleanup", "end", "wanted"),
    [("always", 3, 1), ("on_success", 3, 0), ("on_success", 0, 1), ("never", 0, 0)],
)
def test_an_end_may_want_its_directory_gone(
    store: Store, cleanup: str, end: int, wanted: int
) -> None:
    begin(store, cleanup=cleanup)
    tell(store, protocol.Ended(ID, end, None, "", "", 5.0, 6.0, 0))
    reaps = [intent for intent in store.intents.list_open("c") if intent.kind == "reap"]
    assert len(reaps) == wanted
    assert store.intents.has_unowned("c") == bool(wanted)


def test_a_job_that_runs_was_not_cancelled_before_it_started(store: Store) -> None:
    """The host has no directory of it: another machine may answer to that name."""
    begin(store)
    tell(store, protocol.Hello("node", 1.0), STARTED)
    job = tell(store, protocol.Hello("other", 1.0), protocol.KillMissing(ID))
    assert job is not None
    assert (job.state, job.reason) == (states.RUNNING, "runs on node")
    job = tell(store, protocol.Hello("node", 1.0), protocol.KillMissing(ID))
    assert job is not None and job.state == states.LOST


@pytest.mark.parametrize(
    "fact",
    [
        protocol.Refused(ID, "ENOSPC", "x"),
        protocol.Refused(ID, "EGONE", "x"),
        protocol.Claimed(ID, OTHER, 1, states.RUNNING, True),
    ],
)
def test_what_has_started_is_neither_forgotten_nor_replaced(
    store: Store, fact: protocol.Event
) -> None:
    begin(store)
    job = tell(store, STARTED, fact, STARTED._replace(job_id=OTHER))
    assert job is not None and job.state == states.RUNNING
    assert store.jobs.find_job(OTHER) is None


@pytest.mark.parametrize(("end", "told"), [(None, NOW), (6.0, 106.0)])
def test_an_instant_of_ours_is_not_corrected(
    store: Store, end: float | None, told: float
) -> None:
    """What the host dates is put right by its skew, what we date needs none."""
    begin(store)
    with store.begin_write():
        ended = protocol.Ended(ID, 3, None, "", "", None, end, 0)
        ledger(store, skew=100.0).apply([STARTED, ended])
    job = store.jobs.find_job(ID)
    assert job is not None and job.finished_at == told


def test_name_and_journal_of_the_host_are_told(store: Store) -> None:
    applier = ReplyApplier(store, "c", "h", [], 0.0, NOW)
    with store.begin_write():
        done = applier.apply([protocol.Hello("n", 1.0), protocol.JournalAt("g", 7)])
    assert done == []
    assert applier.columns == {"node": "n", "journal_gen": "g", "journal_at": 7}
