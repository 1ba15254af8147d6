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
    assert error.detail == (
        "ssh ended with status 255: it said nothing; nothing ran there"
    )


def test_words_without_a_cause_are_told_with_the_status() -> None:
    error = explain_failed_login(
        "box", "debug1: x\nsome new words\n", 254, "come later"
    )
    assert isinstance(error, errors.HostUnreachable)
    assert error.detail == (
        "ssh ended with status 254: some new words; the host said: come later; "
        "nothing ran there"
    )


#: A line of ssh, and the word that its class and its hint have of their own.
LINES = {
    "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @": (
        errors.AuthenticationError,
        "ssh-keygen -R",
    ),
    "@ WARNING: REVOKED HOST KEY DETECTED! @": (
        errors.AuthenticationError,
        "ssh-keygen -R",
    ),
    "No ED25519 host key is known for box and you have requested strict checking.": (
        errors.AuthenticationError,
        "log in once with ssh box",
    ),
    "Host key verification failed.": (
        errors.AuthenticationError,
        "log in once with ssh box",
    ),
    "Unable to negotiate with 10.0.0.1 port 22: no matching cipher found.": (
        errors.AuthenticationError,
        "KexAlgorithms",
    ),
    "Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures": (
        errors.AuthenticationError,
        "MaxAuthTries",
    ),
    "me@box: Permission denied (publickey).": (
        errors.AuthenticationError,
        "sshjobs connect box",
    ),
    "Received disconnect from 10.0.0.1 port 22:14: No more methods": (
        errors.AuthenticationError,
        "sshjobs connect box",
    ),
    "Received disconnect from 10.0.0.1 port 22:12: Too many connections": (
        errors.Throttled,
        "MaxStartups",
    ),
    "Received disconnect from 10.0.0.1 port 22:11: Bye": (
        errors.HostUnreachable,
        "the host's own words",
    ),
    "ssh: Could not resolve hostname box: Name or service not known": (
        errors.HostUnreachable,
        "HostName in ssh_config",
    ),
    "Connection timed out during banner exchange": (
        errors.HostUnreachable,
        "no ssh server greeted",
    ),
    "ssh: connect to host box port 22: Connection refused": (
        errors.HostUnreachable,
        "is sshd running",
    ),
    "channel 0: open failed: administratively prohibited: open failed": (
        errors.HostUnreachable,
        "AllowTcpForwarding",
    ),
    "stdio forwarding failed": (errors.HostUnreachable, "AllowTcpForwarding"),
    "ssh: connect to host box port 22: No route to host": (
        errors.HostUnreachable,
        "a firewall",
    ),
    "Timeout, server box not responding.": (errors.HostUnreachable, "a firewall"),
    "Connection reset by 10.0.0.1 port 22": (errors.Throttled, "MaxStartups"),
    "Connection closed by UNKNOWN port 65535": (
        errors.HostUnreachable,
        "run the ProxyCommand",
    ),
    "kex_exchange_identification: read: Connection reset by peer": (
        errors.Throttled,
        "MaxStartups",
    ),
}


@pytest.mark.parametrize("line", LINES)
def test_each_line_has_its_class_and_its_hint(line: str) -> None:
    kind, word = LINES[line]
    error = explain_failed_login("box", f"debug1: x\n{line}\r\n", 255)
    assert type(error) is kind
    assert isinstance(error, errors.TransportError) and word in error.hint
    assert error.detail.endswith("; nothing ran there") and "\\r" not in error.detail


@pytest.mark.parametrize("before", ["", "\n", "first line\n", "first line\r\n"])
@pytest.mark.parametrize("after", ["", "\n", "\r\nlast line\nand more"])
def test_of_the_text_the_line_of_the_cause_is_told(before: str, after: str) -> None:
    line = "  ssh: Could not resolve hostname box: Name or service not known"
    error = explain_failed_login("box", before + line + after, 255)
    assert isinstance(error, errors.HostUnreachable)
    assert error.detail == (
        "Could not resolve hostname box: Name or service not known; nothing ran there"
    )


def test_words_before_those_of_the_cause_are_told_as_well() -> None:
    text = "hello\nme@box: Permission denied (publickey).\n"
    error = explain_failed_login("box", text, 255)
    assert isinstance(error, errors.AuthenticationError)
    assert error.detail == ("me@box: Permission denied (publickey).; nothing ran there")


def test_a_carriage_return_hides_no_cause() -> None:
    error = explain_failed_login("box", "Host is\r down\n", 255)
    assert isinstance(error, errors.HostUnreachable)
    assert error.detail == "Host is down; nothing ran there"


def test_a_long_line_is_cut() -> None:
    long = "Could not resolve hostname " + "x" * 400
    error = explain_failed_login("box", long, 255)
    assert isinstance(error, errors.HostUnreachable)
    assert error.detail == long[:300] + "; nothing ran there"
    assert clean_words("x" * 601) == "x" * 600


def test_debug_lines_are_no_causes() -> None:
    text = "debug1: Permission denied (none)\nssh: Could not resolve hostname box: x\n"
    for said in (text, "\n".join(reversed(text.splitlines()))):
        error = explain_failed_login("box", said, 255)
        assert type(error) is errors.HostUnreachable


def test_an_echo_says_more_than_the_end_of_a_connection() -> None:
    text = "Timeout, server box not responding.\nclient_loop: Broken pipe\n"
    error = explain_failed_login("box", text, 255)
    assert type(error) is errors.HostUnreachable
    assert "not responding" in error.detail


def test_what_stands_first_in_the_table_counts_of_two_that_end_at_one_place() -> None:
    """The particular before the general, as the table has them."""
    text = "ssh: connect to host box port 22: Connection refused"
    error = explain_failed_login("box", text, 255)
    assert isinstance(error, errors.HostUnreachable) and "sshd running" in error.hint


@pytest.mark.parametrize(
    "text",
    [
        (DATA / "SpecError.environment.txt").read_text(),
        "invalid environment expansion RUN_DIR.\n",
    ],
)
def test_a_variable_that_is_not_set_is_named(text: str) -> None:
    error = explain_failed_login("box", text + "Permission denied (publickey).\n", 255)
    assert isinstance(error, errors.SpecError)
    assert str(error).startswith(
        "box: ssh_config uses RUN_DIR of the environment, which is not set here"
    )


def test_of_a_key_that_was_accepted_the_last_word_is_told() -> None:
    text = (DATA / "AccountRefused.expired.txt").read_text()
    error = explain_failed_login("box", text, 255, "Your account has expired")
    assert isinstance(error, errors.AccountRefused)
    assert error.detail == (
        "the key was accepted, and then the account was refused: "
        "Connection closed by 127.0.0.1 port 22; "
        "the host said: Your account has expired; nothing ran there"
    )


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
