"""ssh's prose, as it really was, and the class that it leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from sshjobs import errors
from sshjobs.transports.causes import diagnose, words

pytestmark = pytest.mark.quick

DATA = Path(__file__).parent / "data" / "ssh_stderr"
CASES = sorted(DATA.glob("*.txt"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_text_leads_to_its_class(path: Path) -> None:
    error = diagnose("box", path.read_text(), 255)
    assert type(error).__name__ == path.name.split(".")[0]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_error_names_host_cause_and_help(path: Path) -> None:
    error = diagnose("box", path.read_text(), 255)
    assert str(error).startswith("box: ")
    assert "\n" not in str(error)
    assert str(error).isprintable()
    if isinstance(error, errors.TransportError):
        assert "nothing ran there" in error.detail
        assert error.hint


def test_throttled_names_the_server_options_and_no_false_hope() -> None:
    error = diagnose("box", (DATA / "Throttled.maxstartups.txt").read_text(), 255)
    for word in (
        "MaxStartups",
        "PerSourcePenalties",
        "raising banner_timeout does not",
    ):
        assert word in str(error)


def test_bad_key_file_is_named_rather_than_the_refusal() -> None:
    text = (DATA / "AuthenticationError.unprotected_key.txt").read_text()
    assert "bad permissions" in str(diagnose("box", text, 255))


def test_silence_is_unreachable_and_says_the_status() -> None:
    error = diagnose("box", "", 255)
    assert isinstance(error, errors.HostUnreachable)
    assert "255" in str(error)


def test_words_escape_what_would_drive_a_terminal() -> None:
    assert words("debug1: x\r\n\x1b[31mred\r\n\n@@@@@\nlast\n") == "\\x1b[31mred; last"
