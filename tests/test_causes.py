"""ssh's prose, as it really was, and the class that it leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from sshjobs import errors
from sshjobs.transports.ssh_errors import clean_words, explain_failed_login

pytestmark = pytest.mark.quick

DATA = Path(__file__).parent / "data" / "ssh_stderr"
CASES = sorted(DATA.glob("*.txt"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_text_leads_to_its_class(path: Path) -> None:
    error = explain_failed_login("box", path.read_text(), 255)
    assert type(error).__name__ == path.name.split(".")[0]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_error_names_host_cause_and_help(path: Path) -> None:
    error = explain_failed_login("box", path.read_text(), 255)
    assert str(error).startswith("box: ")
    assert "\n" not in str(error)
    assert str(error).isprintable()
    if isinstance(error, errors.TransportError):
        assert "nothing ran there" in error.detail
        assert error.hint


def test_throttled_names_the_server_options_and_no_false_hope() -> None:
    error = explain_failed_login(
        "box", (DATA / "Throttled.maxstartups.txt").read_text(), 255
    )
    for word in (
        "MaxStartups",
        "PerSourcePenalties",
        "raising banner_timeout does not",
    ):
        assert word in str(error)


def test_bad_key_file_is_named_rather_than_the_refusal() -> None:
    text = (DATA / "AuthenticationError.unprotected_key.txt").read_text()
    assert "bad permissions" in str(explain_failed_login("box", text, 255))


def test_silence_is_unreachable_and_says_the_status() -> None:
    error = explain_failed_login("box", "", 255)
    assert isinstance(error, errors.HostUnreachable)
    assert "255" in str(error)


def test_words_escape_what_would_drive_a_terminal() -> None:
    assert (
        clean_words("debug1: x\r\n\x1b[31mred\r\n\n@@@@@\nlast\n")
        == "\\x1b[31mred; last"
    )


def test_latest_words_of_ssh_win() -> None:
    refused = "ssh: connect to host box port 22: Connection refused\n"
    denied = "me@box: Permission denied (publickey).\n"
    closed = "Connection closed by 10.0.0.1 port 22\n"
    for text, kind in {
        refused + denied: errors.AuthenticationError,
        denied + refused: errors.HostUnreachable,
        refused + closed: errors.Throttled,
        denied + closed: errors.Throttled,
    }.items():
        assert type(explain_failed_login("box", text, 255)) is kind, text


def test_a_host_cannot_speak_for_ssh() -> None:
    said = "me@box: Permission denied (publickey).\n\x1b[31mcome later\n" + "x" * 5000
    error = explain_failed_login(
        "box", "Connection closed by 10.0.0.1 port 22\n", 255, said
    )
    assert isinstance(error, errors.Throttled)
    assert "the host said: me@box: Permission" in str(error)
    assert "\\x1b[31mcome later" in str(error) and len(str(error)) < 1500


def test_words_in_place_of_the_greeting_are_told() -> None:
    text = (DATA / "Throttled.maxstartups_said.txt").read_text()
    assert "the host said: Exceeded MaxStartups;" in str(
        explain_failed_login("box", text, 255)
    )
    assert "pid=" not in str(explain_failed_login("box", text, 255))
