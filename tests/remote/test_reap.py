"""Reaps and lists: ended jobs of ours go, nothing else does, and each is listed."""

from __future__ import annotations

import os

import pytest

from sshjobs import protocol
from sshjobs.model import new_job_id
from sshjobs.protocol import Reap, Request
from tests.remote.host import Host, an_order, of


def test_reap_takes_a_job_that_has_ended_for_good(any_host: Host) -> None:
    job_id = any_host.start(b"true")
    any_host.end(job_id)
    request = Request(reaps=(Reap(job_id, 0),))
    assert of(protocol.Reaped, any_host.run(request))
    assert of(protocol.Reaped, any_host.run(request))
    assert not (any_host.jobs / job_id).exists()
    again = any_host.run(Request(starts=(an_order(b"true", job_id=job_id),)))
    assert of(protocol.Ended, again)[0].exit_status == 0
    assert of(protocol.Reaped, again)
    assert not (any_host.jobs / job_id).exists()


def test_kill_of_a_reaped_job_keeps_its_end(any_host: Host) -> None:
    job_id = any_host.start(b"exit 4")
    any_host.end(job_id)
    any_host.run(Request(reaps=(Reap(job_id, 0),)))
    for _ in range(2):
        said = any_host.run(Request(kills=(job_id,)))
        assert of(protocol.Ended, said)[0].exit_status == 4
        assert of(protocol.KillSent, said) and not of(protocol.KillMissing, said)


def test_reap_refuses_jobs_that_run_or_are_not_ours(host: Host) -> None:
    started = host.running(b"sleep 100")
    foreign = new_job_id()
    (host.jobs / foreign).mkdir()
    (host.jobs / foreign / "exit").write_text("end=\n")
    reaps = (Reap(started.job_id, 99), Reap(foreign, 99))
    said = of(protocol.ReapRefused, host.run(Request(reaps=reaps)))
    assert [event.job_id for event in said] == [started.job_id, foreign]
    assert (host.jobs / foreign / "exit").exists()


def test_reap_follows_no_link(any_host: Host) -> None:
    job_id = any_host.start(b"true")
    any_host.end(job_id)
    elsewhere = any_host.home / "precious"
    (any_host.jobs / job_id).rename(elsewhere)
    (any_host.jobs / job_id).symlink_to(elsewhere)
    said = of(protocol.ReapRefused, any_host.run(Request(reaps=(Reap(job_id, 0),))))
    assert "symbolic link" in said[0].reason
    assert (elsewhere / "exit").exists()
    inner = any_host.start(b"ln -s $HOME/precious $HOME/.sshjobs/jobs/*/into; true")
    any_host.end(inner)
    any_host.run(Request(reaps=(Reap(inner, 0),)))
    assert (elsewhere / "exit").exists()


def test_reap_follows_no_link_that_comes_at_the_last_moment(host: Host) -> None:
    job_id = host.start(b"true")
    host.end(job_id)
    precious = host.home / "precious"
    (precious / "deep").mkdir(parents=True)
    swap = f"rm -r jobs/{job_id}; ln -s {precious} jobs/{job_id}; rm -rf --".encode()
    host.edit = lambda program: program.replace(
        b"rm -rf -- $sj_few", swap + b" $sj_few"
    )
    host.run(Request(reaps=(Reap(job_id, 0),)))
    assert (precious / "deep").is_dir()


def test_a_job_whose_end_has_no_second_name_is_reaped(host: Host) -> None:
    """As where links are lacking: the end in ``run`` counts by itself."""
    job_id = host.start(b"exit 5")
    host.end(job_id)
    (host.jobs / job_id / "exit").unlink()
    assert of(protocol.Reaped, host.run(Request(reaps=(Reap(job_id, 0),))))


def test_a_listing_has_each_job_of_ours_and_names_the_rest(any_host: Host) -> None:
    done = any_host.start(b"echo abc", name="näme %", key="ke\ty")
    any_host.end(done)
    on = any_host.running(b"sleep 100")
    (any_host.jobs / "no job").mkdir()
    (any_host.jobs / new_job_id()).symlink_to("/etc")
    (any_host.jobs / new_job_id()).mkdir()
    said = any_host.run(Request(listing=True))
    listed = {event.job_id: event for event in of(protocol.Listed, said)}
    assert listed.keys() == {done, on.job_id}
    assert listed[done].state == "COMPLETED" and listed[on.job_id].state == "RUNNING"
    assert (listed[done].name, listed[done].key) == ("näme %", "ke\ty")
    assert listed[done].log_bytes == 4
    assert 0 <= listed[done].age < 60
    assert {event.job_id for event in of(protocol.Started, said)} == listed.keys()
    assert [event.job_id for event in of(protocol.Ended, said)] == [done]
    assert len(of(protocol.ListedOdd, said)) == 3


def test_a_listing_names_a_directory_of_somebody_else(host: Host) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a directory away")
    job_id = host.start(b"true")
    host.end(job_id)
    os.chown(host.jobs / job_id, 65534, -1)
    said = host.run(Request(listing=True))
    assert not of(protocol.Listed, said)
    (odd,) = of(protocol.ListedOdd, said)
    assert (odd.entry, odd.reason) == (job_id, "not a directory of ours")


def test_a_tombstone_goes_when_its_time_is_over(host: Host) -> None:
    job_id = new_job_id()
    host.run(Request(kills=(job_id,), gone_ttl=-5.0))
    (host.base / "gone" / new_job_id()).touch()
    for stamp in host.base.glob("*/swept"):
        stamp.unlink()
    host.run()
    assert not (host.base / "gone" / job_id).exists()
