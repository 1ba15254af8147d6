"""Starts that wait here: what follows for them from how the jobs before them do."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from sshjobs.model import Job, Spec, new_job_id
from sshjobs.rounds.held import LET_GO, settle_held
from sshjobs.store import Store
from sshjobs.verbs.context import Context
from sshjobs.verbs.hold import BatchHolds
from sshjobs.verbs.tend import find_sites_to_ask, tend_held
from sshjobs.verbs.withdraw import leave_what_was_sent

pytestmark = pytest.mark.quick


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "home"))


def add(store: Store, site: str, state: str = "RUNNING", launcher: str = "") -> Job:
    """Write down a job of a site, whose host has the same name."""
    store.sites.ensure_site(site, site)
    job = Job(new_job_id(), site, site, state, launcher=launcher)
    store.jobs.add_jobs([job])
    return job


def hold(store: Store, site: str, *words: str, launcher: str = "limit") -> Job:
    """Write down a job of a site that comes after others."""
    job = add(store, site, "PENDING", launcher)
    store.held.hold_starts({job.id: " ".join(words)})
    store.files.save_spec(job.id, Spec(b"true"))
    return job


def settle(store: Store) -> list[str]:
    """Settle what waits, and return which jobs were ended."""
    with store.begin_write():
        return settle_held(store, time.time()).ended


def tell(store: Store, job: Job) -> str:
    """Return how a job does, and why."""
    known = store.jobs.find_job(job.id)
    assert known is not None
    return f"{known.state} {known.reason}"


def list_open(store: Store, site: str) -> list[tuple[str, str]]:
    """Return the jobs that the next round of a site starts, after which others."""
    return [(one.job_id, one.note) for one in store.intents.list_open(site)]


@pytest.mark.parametrize(
    ("state", "how", "is_let_go"),
    [
        ("COMPLETED", "ok", True),
        ("COMPLETED", "any", True),
        ("FAILED", "any", True),
        ("LOST", "any", True),
        ("FAILED", "ok", False),
        ("CANCELLED", "ok", False),
        ("LOST", "ok", False),
    ],
)
def test_an_end_decides(store: Store, state: str, how: str, is_let_go: bool) -> None:
    first = add(store, "a")
    second = hold(store, "b", f"{first.id}:{how}")
    assert settle(store) == [] and not list_open(store, "b")
    assert tell(store, second) == f"PENDING after {first.id} on a"
    store.jobs.update_job(first.id, state=state)
    assert settle(store) == ([] if is_let_go else [second.id])
    assert list_open(store, "b") == [(second.id, "")] * is_let_go
    assert not store.intents.has_held()
    if is_let_go:
        assert tell(store, second) == f"PENDING {LET_GO}"
    else:
        assert tell(store, second).endswith(
            f"job {first.id}, which was to come before it, is {state}"
        )
        assert store.files.read_spec(second.id) is None
    assert settle(store) == []


def test_one_that_is_gone_from_the_record_is_waited_for_no_more(store: Store) -> None:
    first = add(store, "a")
    second = hold(store, "b", f"{first.id}:any")
    damaged = hold(store, "b", "x\0y:ok")
    store.jobs.forget_jobs([first.id])
    assert settle(store) == [second.id, damaged.id]
    assert f"no job {first.id} any more" in tell(store, second)


def test_a_chain_ends_at_once_whatever_its_order(store: Store) -> None:
    first = add(store, "a", "FAILED")
    later = [hold(store, "b", f"{first.id}:ok")]
    for site in ("c", "a", "b"):
        later.append(hold(store, site, f"{later[-1].id}:ok"))
    with store.begin_write():  # as if the last had been written down first
        for one in store.held.list_held():
            number = 1000 - one.number
            store._database.execute_sql(
                "UPDATE intents SET id = ? WHERE id = ?", [number, one.number]
            )
    assert set(settle(store)) == {job.id for job in later}


def test_what_its_own_host_can_wait_for_is_left_to_it(store: Store) -> None:
    far, near = add(store, "a"), add(store, "b")
    words = (f"{far.id}:ok", f"{near.id}:any")
    second = hold(store, "b", *words)
    third = hold(store, "b", f"{second.id}:ok")
    service = hold(store, "b", *words, launcher="systemd")
    settle(store)
    store.jobs.update_job(far.id, state="COMPLETED")
    settle(store)
    after = f"{near.id}:any"
    assert list_open(store, "b") == [(second.id, after), (third.id, f"{second.id}:ok")]
    assert tell(store, service) == f"PENDING after {near.id} on b"


def test_only_what_must_wait_here_does(store: Store) -> None:
    near, far = add(store, "b"), add(store, "a")
    over = add(store, "a", "COMPLETED")
    held = hold(store, "b", f"{far.id}:ok")
    unknown = new_job_id()
    for before, is_held, left in (
        ([near.id], False, [near.id]),
        ([near.id, over.id], False, [near.id]),
        ([unknown], False, [unknown]),
        ([far.id, near.id, unknown], True, [unknown]),
        ([held.id], True, []),
    ):
        holds = BatchHolds(store)
        words = [f"after={job_id}:ok".encode() for job_id in before]
        spec = Spec(b"true", launcher="limit", launcher_args=(*words, b"group=g"))
        job = add(store, "b", "PENDING", "limit")
        kept = holds.take_spec(job, spec).launcher_args
        assert (job.id in holds) == is_held
        assert kept == (*(f"after={one}:ok".encode() for one in left), b"group=g")


def test_a_start_that_was_let_go_does_not_expire(store: Store) -> None:
    first = add(store, "a", "COMPLETED")
    second = hold(store, "b", f"{first.id}:ok")
    settle(store)
    assert store.intents.expire_intents("b", 3600.0, time.time() + 1e6) == []
    assert list_open(store, "b") == [(second.id, "")]
    assert list(store.held.list_unsent()) == ["b"]


def test_the_hosts_of_those_before_it_are_asked(store: Store) -> None:
    first, other = add(store, "a"), add(store, "d")
    second = hold(store, "b", f"{first.id}:ok")
    third = hold(store, "c", f"{second.id}:ok", f"{other.id}:ok")
    assert find_sites_to_ask(store, [third.id]) == {"a", "d"}
    assert find_sites_to_ask(store, [second.id]) == {"a"}
    assert find_sites_to_ask(store, [first.id]) == set()
    store.jobs.update_job(first.id, state="COMPLETED")
    settle(store)
    assert find_sites_to_ask(store, [third.id]) == {"b", "d"}
    assert store.held.has_other_active([second.id])
    assert not store.held.has_other_active([third.id])


def test_one_whose_predecessor_was_taken_back_is_ended_at_once(store: Store) -> None:
    first = add(store, "a", "PENDING")
    numbers = store.intents.add_intents("a", "start", [first.id])
    second = hold(store, "b", f"{first.id}:any")
    third = hold(store, "c", f"{second.id}:any")
    assert leave_what_was_sent(store, numbers, False) == []
    assert tell(store, second).startswith("CANCELLED never began: ")
    assert tell(store, third) == f"PENDING {LET_GO}"


def test_where_no_host_is_to_be_asked_a_wait_sees_to_it(tmp_path: Path) -> None:
    """Whatever was written by a version that left such a job waiting."""
    with closing(Context({"SSHJOBS_HOME": str(tmp_path / "home")}, {})) as ctx:
        second = hold(ctx.store, "b", f"{new_job_id()}:any")
        with tend_held(ctx, [second.id]):
            assert tell(ctx.store, second).startswith("CANCELLED never began: ")
