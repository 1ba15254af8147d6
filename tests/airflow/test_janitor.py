"""Tasks that a person ended while no trigger was there to hear of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.airflow.real import asleep, eventually, login, open_folder
from tests.airflow.test_triggers import Rig
from tests.sshd import Sshd, sshd_path

pytest.importorskip("airflow")
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not sshd_path(), reason="no sshd"),
]

from sshjobs.airflow import SSHJobTrigger, janitor, notes  # noqa: E402


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with open_folder() as base, Sshd(base, login()) as server:
        yield server


@pytest.fixture
def rig(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """What other tests of triggers have, and its record is that of this process."""
    with open_folder() as base:
        made = Rig(base, sshd)
        for name in ("SSHJOBS_HOME", "SSHJOBS_SSH_CONFIG"):
            monkeypatch.setenv(name, made.env[name])
        yield made
        for one in made.made:
            one.close()
        made.sshjobs("kill", "--state", "RUNNING", "--yes")
        made.sshjobs("disconnect", "box")


def _look(monkeypatch: pytest.MonkeyPatch, *states: Any) -> None:
    """Look once; task N of small_triggerer has the Nth of these states."""
    found = {("d", "r", "t", number): state for number, state in enumerate(states)}
    monkeypatch.setattr(janitor, "read_states", lambda _runs: found)
    janitor.Janitor().look()


def test_a_task_that_was_ended_after_its_triggerer_was_killed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tree goes; one whose task waits, runs, tries again or is unknown stays."""
    numbers = range(7501, 7508)
    jobs = rig.submit(*(f"setsid sleep {n} & sleep {n}" for n in numbers))
    triggerer = rig.wait_for(*jobs)
    eventually(lambda: len(notes.read_notes()) == len(jobs))
    eventually(lambda: all(len(asleep(n)) == 2 for n in numbers))
    triggerer.end(signal.SIGKILL)
    _look(monkeypatch, *len(jobs) * ["deferred"])
    _look(monkeypatch, "failed", "success", None, "up_for_retry", "running", "deferred")
    eventually(lambda: not any(asleep(n) for n in numbers[:3]), 30)
    assert all(len(asleep(n)) == 2 for n in numbers[3:])
    eventually(lambda: set(notes.read_notes()) == set(jobs[3:]))
    assert rig.show(jobs[0])["state"] == "CANCELLED"


def test_whoever_sees_the_end_of_a_job_drops_the_note(rig: Rig) -> None:
    jobs = rig.submit("sleep 1", "sleep 7511")
    triggerer = rig.wait_for(*jobs, "key:nobody")
    triggerer.read_until("event")
    triggerer.read_until("event")
    eventually(lambda: set(notes.read_notes()) == {jobs[1]})
    triggerer.end_task(1, "failed")
    triggerer.read_until("killed")
    assert not notes.read_notes()


def test_a_note_of_another_airflow_is_let_alone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = dict(dag_id="d", run_id="r", task_id="t", map_index=0)
    monkeypatch.setattr(notes, "AIRFLOW_HOME", "/elsewhere")
    ti = SimpleNamespace(**given)
    left = SSHJobTrigger("c" * 16, cancel_on_kill=False)
    notes.keep_notes([(SSHJobTrigger("b" * 16), ti), (left, ti)])
    assert set(notes.read_notes()) == {"b" * 16}
    monkeypatch.undo()
    monkeypatch.setenv("SSHJOBS_HOME", rig.env["SSHJOBS_HOME"])
    assert not notes.read_notes()


def test_a_note_that_is_no_note_is_passed_over(rig: Rig) -> None:
    rig.sshjobs("list")
    folder = Path(os.environ["SSHJOBS_HOME"]) / "airflow" / "deferred"
    assert not notes.read_notes()
    for text in ("", "[]", "{}", "5", '{"airflow": 1}', "x{"):
        (folder / ("c" * 16)).write_text(text)
        assert not notes.read_notes()
    (folder / "../x").write_text("{}")
    (folder / "d").write_text("{}")
    assert not notes.read_notes()
