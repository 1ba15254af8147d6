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


@pytest.mark.parametrize("error", SAMPLES, ids=lambda e: type(e).__name__)
def test_a_further_hint_stands_behind_the_first(error: errors.SshJobsError) -> None:
    more = errors.add_hint(error, "do this")
    assert type(more) is type(error) and more.exit_status == error.exit_status
    if isinstance(error, errors.JobError):
        assert more is error
    elif isinstance(error, (errors.TransportError, errors.HostError)):
        assert isinstance(more, (errors.TransportError, errors.HostError))
        assert (more.host, more.detail) == (error.host, error.detail)
        hints = [hint for hint in (error.hint, "do this") if hint]
        assert more.hint == "; ".join(hints)
    else:
        assert str(more) == f"{error}; do this"
    assert str(errors.add_hint(error, "")) == str(error)


def test_a_further_hint_takes_no_note_from_an_error() -> None:
    lost = errors.ConnectionLost("h", "gone", "see its log")
    lost.is_of_login = True
    assert errors.add_hint(lost, "ask again").is_of_login
    odd = errors.add_hint(errors.ProtocolError("h", "odd", b"?"), "ask again")
    assert (odd.detail, odd.reply) == ("odd; ask again", b"?")


def test_nothing_stands_behind_a_command_to_copy() -> None:
    error = errors.StoreError("s: damaged; bring it back with:\nsshjobs poll --adopt")
    told = str(errors.add_hint(errors.add_hint(error, "given up"), "see why"))
    assert told.split("\n")[1:] == ["sshjobs poll --adopt", "given up", "see why"]


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
