"""Each field of a frame has one reader, and each reader its bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sshjobs import hints, protocol
from sshjobs.protocol import frames
from sshjobs.protocol.frames import FRAME_READERS, MAX_LINE, read_event
from sshjobs.states import STATES

ID = "aaaabbbbccccdddd"
OTHER = "eeeeffffgggghhhh"

pytestmark = pytest.mark.quick

Reader = Callable[[bytes], object]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"plain", "plain"),
        (b"%41", "A"),
        (b"%41BC", "ABC"),
        (b"a%20b%0A", "a b\n"),
        (b"%C3%A9%ff", "é%ff"),
        (b"%", "%"),
        (b"%4", "%4"),
        (b"%4x%x4", "%4x%x4"),
        (b"%%41", "%A"),
        (b"%00%FF", "\0\udcff"),
        (b"%AF%FA%19%91", b"\xaf\xfa\x19\x91".decode("utf-8", "surrogateescape")),
    ],
)
def test_an_escape_is_a_byte_and_all_else_is_itself(data: bytes, text: str) -> None:
    assert frames.decode_escapes(data) == text


@pytest.mark.parametrize(
    ("read", "data", "value"),
    [
        (frames.read_job_id, ID.encode(), ID),
        (frames.read_text, b"a%0Ab", "a\\nb"),
        (frames.read_text, b"-", "-"),
        (frames.read_text, b"x" * 1000, "x" * 1000),
        (frames.read_text, b"x" * 1001, "x" * 1000),
        (frames.read_label, b"-", ""),
        (frames.read_label, b"a%1Bb", "a\\x1bb"),
        (frames.read_label, b"x" * 2000, "x" * 1024),
        (frames.read_word, b"-", ""),
        (frames.read_word, b"a%1Bb", "a\\x1bb"),
        (frames.read_word, b"x" * 1024, "x" * 1024),
        (frames.read_name, b"a%20b", "a b"),
        (frames.read_name, b"x" * 1024, "x" * 1024),
        (frames.read_key, b"-", ""),
        (frames.read_key, b"a%0Ab", "a\nb"),
        (frames.read_key, b"x" * 1024, "x" * 1024),
        (frames.read_key, b"%0A" + b"x" * 1023, "\n" + "x" * 1023),
        (frames.read_key, b"%80", "\\x80"),
        (frames.read_key, b"%FF", "\\xff"),
        (frames.read_key, b"a%00", "a\\x00"),
        (frames.read_token, b"-", ""),
        (frames.read_token, b"a;b c\xff.:+-_Z9", "a_b_c_.:+-_Z9"),
        (frames.read_token, bytes(range(256))[:64], "_" * 43 + "+_-._0123456789:_____"),
        (frames.read_token, b"x" * 65, "x" * 64),
        (frames.read_count, b"0", 0),
        (frames.read_count, b"9" * 15, 999_999_999_999_999),
        (frames.read_instant, b"13.25", 13.25),
        (frames.read_instant, b"7", 7.0),
        (frames.read_instant, b"99999999999.9", 99_999_999_999.9),
        (frames.read_number, b"-1.5e+2", -150.0),
        (frames.read_number, b"0" * 24 + b"7", 7.0),
        (frames.read_number, b"-99999999999.9", -99_999_999_999.9),
        (frames.read_optional_instant, b"-", None),
        (frames.read_optional_instant, b"3.5", 3.5),
        (frames.read_flag, b"1", True),
        (frames.read_flag, b"0", False),
        (frames.read_flag, b"", False),
        (frames.read_cause, b"cancelled", "cancelled"),
        (frames.read_cause, b"timeout", "timeout"),
        (frames.read_cause, b"-", ""),
        (frames.read_cause, b"\xff", ""),
        (frames.read_features, b"-", ()),
        (frames.read_features, b"setsid,proc", ("setsid", "proc")),
    ],
)
def test_a_field_within_its_bounds_is_read(
    read: Reader, data: bytes, value: object
) -> None:
    assert read(data) == value
    assert type(read(data)) is type(value)


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (frames.read_job_id, b""),
        (frames.read_job_id, b"../../etc/passwd"),
        (frames.read_job_id, ID.encode() + b"a"),
        (frames.read_job_id, b"aaaabbbbccccddd\xff"),
        (frames.read_word, b"x" * 1025),
        (frames.read_word, b"%00" * 257),  # it is shown as \x00
        (frames.read_name, b""),
        (frames.read_name, b"-"),
        (frames.read_name, b"x" * 1025),
        (frames.read_key, b"x" * 1025),
        (frames.read_count, b""),
        (frames.read_count, b"-1"),
        (frames.read_count, b"1.0"),
        (frames.read_count, b"0x1"),
        (frames.read_count, b"1" * 16),
        (frames.read_instant, b""),
        (frames.read_instant, b"1.2.3"),
        (frames.read_instant, b"-1"),
        (frames.read_instant, b"1e3"),
        (frames.read_instant, b"nan"),
        (frames.read_instant, b"100000000000"),
        (frames.read_number, b"nan"),
        (frames.read_number, b"inf"),
        (frames.read_number, b"1_0"),
        (frames.read_number, b" 7"),
        (frames.read_number, b"--"),
        (frames.read_number, b"1e11"),
        (frames.read_number, b"-1e11"),
        (frames.read_number, b"1e999"),
        (frames.read_number, b"0" * 26),
        (frames.read_state, b""),
        (frames.read_state, b"DONE"),
        (frames.read_state, b"running"),
    ],
)
def test_a_field_out_of_its_bounds_is_refused(read: Reader, data: bytes) -> None:
    with pytest.raises(ValueError):
        read(data)


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (frames.read_job_id, b"x"),
        (frames.read_word, b"x" * 1025),
        (frames.read_name, b"-"),
        (frames.read_count, b"x"),
        (frames.read_instant, b"x"),
        (frames.read_number, b"x"),
        (frames.read_number, b"1e11"),
        (frames.read_state, b"x"),
    ],
)
def test_a_refusal_says_what_was_expected(read: Reader, data: bytes) -> None:
    with pytest.raises(ValueError, match="^(not an? |not the id|a word )"):
        read(data)


def test_a_text_is_cut_before_it_is_decoded() -> None:
    long = b"x" * 999 + b"%41"
    assert frames.read_text(long) == "x" * 999 + "A"
    assert frames.read_text(b"%41" * 400 + b"x" * MAX_LINE) == "A" * 400 + "x" * 600


@pytest.mark.parametrize("word", [*STATES, "ELSEWHERE", "MISSING", "GONE"])
def test_every_state_of_a_host_is_read(word: str) -> None:
    assert frames.read_state(word.encode()) == word


@pytest.mark.parametrize(
    ("most", "data", "value"),
    [
        (255, b"255", 255),
        (255, b"256", None),
        (255, b"0", 0),
        (255, b"-", None),
        (3, b"4", None),
        (3, b"3", 3),
    ],
)
def test_a_number_above_its_bound_is_missing(
    most: int, data: bytes, value: int | None
) -> None:
    assert frames.make_bounded_reader(most)(data) == value


def test_a_bounded_number_is_a_number() -> None:
    with pytest.raises(ValueError):
        frames.make_bounded_reader(255)(b"x")


@pytest.mark.parametrize(
    ("rest", "status", "signal"),
    [
        (b"255 - - - - 0 ", 255, None),
        (b"256 - - - - 0 ", None, None),
        (b"- 127 - - - 0 ", None, 127),
        (b"- 128 - - - 0 ", None, None),
    ],
)
def test_a_status_and_a_signal_are_those_of_a_process(
    rest: bytes, status: int | None, signal: int | None
) -> None:
    event = read_event(b"ended", ID.encode() + b" " + rest)
    assert event == protocol.Ended(ID, status, signal, "", "", None, None, 0)


@pytest.mark.parametrize(
    ("tag", "rest", "event"),
    [
        ("hello", "box boot-1 12.5 setsid", protocol.Hello("box", 12.5)),
        ("hello", "box - 12.5 -", protocol.Hello("box", 12.5)),
        ("journal", "77 4096", protocol.JournalAt("77", 4096)),
        (
            "started",
            f"{ID} 10 11 987 boot-1 box 13.5",
            protocol.Started(ID, 10, 11, "987", "boot-1", "box", 13.5),
        ),
        (
            "ended",
            f"{ID} 3 - cancelled 13.5 - 99 why not",
            protocol.Ended(ID, 3, None, "cancelled", "why not", 13.5, None, 99),
        ),
        (
            "ended",
            f"{ID} - 9 timeout - 14.25 0 ",
            protocol.Ended(ID, None, 9, "timeout", "", None, 14.25, 0),
        ),
        ("prepared", ID, protocol.Prepared(ID)),
        ("queued", f"{ID} 77.box a b", protocol.Queued(ID, "77.box", "a b")),
        ("queued", f"{ID} -", protocol.Queued(ID, "", "")),
        (
            "claimed",
            f"{ID} {OTHER} 3 RUNNING 1",
            protocol.Claimed(ID, OTHER, 3, "RUNNING", True),
        ),
        (
            "claimed",
            f"{ID} {ID} 1 GONE 0",
            protocol.Claimed(ID, ID, 1, "GONE", False),
        ),
        ("refused", f"{ID} ENOSPC no room", protocol.Refused(ID, "ENOSPC", "no room")),
        ("killsent", ID, protocol.KillSent(ID)),
        ("killmissing", ID, protocol.KillMissing(ID)),
        ("lost", f"{ID} rebooted at", protocol.Lost(ID, "rebooted at")),
        ("lost", ID, protocol.Lost(ID, "")),
        ("missing", ID, protocol.Missing(ID)),
        ("elsewhere", f"{ID} node7", protocol.Elsewhere(ID, "node7")),
        ("unsupervised", ID, protocol.Unsupervised(ID)),
        ("due", ID, protocol.Due(ID)),
        ("unseen", f"{ID} not listed", protocol.Unseen(ID, "not listed")),
        ("reaped", ID, protocol.Reaped(ID)),
        ("unreaped", f"{ID} a link", protocol.ReapRefused(ID, "a link")),
        ("unforgotten", f"{ID} it runs", protocol.Unforgotten(ID, "it runs")),
        ("longer", f"{ID} 108894", protocol.Longer(ID, 108894)),
        ("differs", ID, protocol.Differs(ID)),
        ("nolog", f"{ID} gone", protocol.NoLog(ID, "gone")),
        (
            "listed",
            f"{ID} LOST -5.5 box 7 abc a%20b k%0Ay",
            protocol.Listed(ID, "LOST", -5.5, "a b", "k\ny", "abc", 7, "box"),
        ),
        ("odd", "x?y no name", protocol.ListedOdd("x?y", "no name")),
        ("fact", "os Linux 6.1", protocol.Fact("os", "Linux 6.1")),
        ("failed", "EODD why", protocol.Failed("EODD", "why", "")),
        ("failed", "exec why", protocol.Failed("exec", "why", "")),
        (
            "failed",
            "EFORK why",
            protocol.Failed("EFORK", "why", hints.HINTS["host:EFORK"]),
        ),
        ("beat", "", protocol.Beat()),
        ("end", "", protocol.End()),
    ],
)
def test_every_frame_is_its_event(tag: str, rest: str, event: protocol.Event) -> None:
    assert read_event(tag.encode(), rest.encode()) == event


def test_every_frame_was_tried() -> None:
    marks = [
        mark
        for mark in getattr(test_every_frame_is_its_event, "pytestmark")
        if mark.name == "parametrize"
    ]
    assert {row[0].encode() for row in marks[0].args[1]} == set(FRAME_READERS)


@pytest.mark.parametrize(
    ("tag", "rest"),
    [
        (b"ended", f"{ID} 3 - - 13.5 -".encode()),
        (b"missing", f"{ID} and more".encode()),
        (b"missing", f"{ID} ".encode()),
        (b"longer", ID.encode()),
        (b"queued", ID.encode()),
        (b"started", f"{ID} 1 2 3 4 5 6 7".encode()),
        (b"missing", b"x " * 5),
    ],
)
def test_a_frame_of_a_job_has_all_its_fields_and_no_more(
    tag: bytes, rest: bytes
) -> None:
    event = read_event(tag, rest)
    assert isinstance(event, protocol.Unread)
    assert event.job_id == (ID if rest.startswith(ID.encode()) else "")
    assert event.detail.startswith(f"{tag.decode()}: ") and "fields" in event.detail


@pytest.mark.parametrize(
    ("tag", "rest"),
    [
        (b"beat", b" "),
        (b"end", b"x"),
        (b"hello", b"box b 1"),
        (b"hello", b"- b 1 -"),
        (b"journal", b"7 x"),
        (b"failed", b"- why"),
        (b"nonsense", b""),
        (b"", b""),
    ],
)
def test_a_frame_of_the_round_must_be_right(tag: bytes, rest: bytes) -> None:
    with pytest.raises(ValueError):
        read_event(tag, rest)


@pytest.mark.parametrize("rest", [b"", b"/etc/passwd x", ID.encode() + b"a"])
def test_a_frame_without_the_id_of_a_job_is_nobodys(rest: bytes) -> None:
    event = read_event(b"lost", rest)
    assert isinstance(event, protocol.Unread)
    assert (event.job_id, event.detail[:6]) == ("", "lost: ")


def test_a_tag_that_is_none_of_ours_is_told() -> None:
    with pytest.raises(ValueError, match="^no frame of ours: b'nonsense'$"):
        read_event(b"nonsense", b"")


def test_a_frame_ends_at_the_longest_line() -> None:
    head = f"lost {ID} ".encode()[5:]
    whole = read_event(b"lost", head.ljust(MAX_LINE, b"x"))
    assert whole == protocol.Lost(ID, "x" * 1000)
    longer = read_event(b"lost", head.ljust(MAX_LINE + 1, b"x"))
    assert longer == protocol.Unread(ID, "lost: longer than any of ours")


def test_bounds_are_as_the_page_of_the_wire_format_has_them() -> None:
    assert MAX_LINE == 65536
