"""The error tree: what a caller can catch, and what survives a trip."""

from __future__ import annotations

import pickle

import pytest

from sshjobs import errors

pytestmark = pytest.mark.quick

SAMPLES = [
    errors.SpecError("x"),
    errors.HostUnreachable("h", "refused", "start sshd"),
    errors.Throttled("h", "closed before the banner"),
    errors.SessionRefused("h", "no more sessions"),
    errors.AuthenticationError("h", "Permission denied"),
    errors.ConnectionLost("h", "gone"),
    errors.CommandTimeout("h", "silence", "command_timeout"),
    errors.HostError("h", "no space", "make room"),
    errors.JobNotFound("abc", "no such job"),
    errors.StoreError("locked"),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda e: type(e).__name__)
def test_errors_survive_pickling_and_the_store(error: errors.SshJobsError) -> None:
    for copy in (pickle.loads(pickle.dumps(error)), errors.load(errors.dump(error))):
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert vars(copy) == vars(error)


def test_protocol_errors_keep_their_reply() -> None:
    error = pickle.loads(pickle.dumps(errors.ProtocolError("h", "bad", b"\xff")))
    assert error.reply == b"\xff"
    assert "h: bad" in str(error)


def test_the_text_names_host_cause_and_way_out() -> None:
    text = str(errors.Throttled("gpu1", "closed before the banner", "see MaxStartups"))
    assert text == "gpu1: closed before the banner (see MaxStartups)"


def test_exit_statuses_are_those_of_the_manual() -> None:
    found = {type(error).__name__: error.exit_status for error in SAMPLES}
    assert found == {
        "SpecError": 64,
        "HostUnreachable": 69,
        "Throttled": 69,
        "SessionRefused": 75,
        "AuthenticationError": 77,
        "ConnectionLost": 75,
        "CommandTimeout": 75,
        "HostError": 69,
        "JobNotFound": 64,
        "StoreError": 70,
    }
