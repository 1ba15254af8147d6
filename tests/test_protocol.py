"""What is said to a host and what is read from it: every byte, every split."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sshjobs import protocol, quoting
from sshjobs.errors import ProtocolError
from sshjobs.model import Spec
from sshjobs.protocol import Check, LogWant, Reap, Reply, Request, Start
from sshjobs.protocol import program as programs
from sshjobs.protocol import starts

NONCE = "00112233445566aa"
FENCE = f"\nsshjobs-reply 1 {NONCE}\n".encode()
ID = "aaaabbbbccccdddd"
OTHER = "eeeeffffgggghhhh"

WHOLE = (
    FENCE
    + b"hello box boot-1 12.5 setsid\n"
    + b"journal 77 4096\n"
    + b"killsent aaaabbbbccccdddd\nkillmissing eeeeffffgggghhhh\n"
    + b"refused aaaabbbbccccdddd ENOSPC No space left on device\n"
    + b"claimed aaaabbbbccccdddd eeeeffffgggghhhh 3 RUNNING 1\n"
    + b"started aaaabbbbccccdddd 10 11 987 boot-1 box 13.5\n"
    + b"ended aaaabbbbccccdddd 3 - - 13.5 14.25 99 \n"
    + b"ended eeeeffffgggghhhh - 9 timeout - 14.25 0 cwd: no %25 %0A x\n"
    + b"prepared aaaabbbbccccdddd\nunsupervised aaaabbbbccccdddd\n"
    + b"due aaaabbbbccccdddd\n"
    + b"unseen aaaabbbbccccdddd not listed\n"
    + b"lost aaaabbbbccccdddd rebooted\nmissing aaaabbbbccccdddd\n"
    + b"elsewhere aaaabbbbccccdddd node7\nbeat\n"
    + b"reaped aaaabbbbccccdddd\nunreaped aaaabbbbccccdddd a link\n"
    + b"longer aaaabbbbccccdddd 108894\n"
    + b"nolog aaaabbbbccccdddd gone\n"
    + b"listed aaaabbbbccccdddd LOST 5.5 box 7 abc a%20b%C3%A9 -\n"
    + b"odd x?y not the name of a job\nfailed EBASE no such thing\n"
    + b"log aaaabbbbccccdddd 5\nhello\n\n"
    + NONCE.encode()
    + b"x\n\n"
    + NONCE.encode()
    + b" 4711\n"
    + b"end\n"
)
EVENTS: list[protocol.Event] = [
    protocol.Hello("box", 12.5),
    protocol.JournalAt("77", 4096),
    protocol.KillSent(ID),
    protocol.KillMissing(OTHER),
    protocol.Refused(ID, "ENOSPC", "No space left on device"),
    protocol.Claimed(ID, OTHER, 3, "RUNNING", True),
    protocol.Started(ID, 10, 11, "987", "boot-1", "box", 13.5),
    protocol.Ended(ID, 3, None, "", "", 13.5, 14.25, 99),
    protocol.Ended(OTHER, None, 9, "timeout", "cwd: no % \\n x", None, 14.25, 0),
    protocol.Prepared(ID),
    protocol.Unsupervised(ID),
    protocol.Due(ID),
    protocol.Unseen(ID, "not listed"),
    protocol.Lost(ID, "rebooted"),
    protocol.Missing(ID),
    protocol.Elsewhere(ID, "node7"),
    protocol.Beat(),
    protocol.Reaped(ID),
    protocol.ReapRefused(ID, "a link"),
    protocol.Longer(ID, 108894),
    protocol.NoLog(ID, "gone"),
    protocol.Listed(ID, "LOST", 5.5, "a bé", "", "abc", 7, "box"),
    protocol.ListedOdd("x?y", "not the name of a job"),
]
LOG = b"hello\n\n" + NONCE.encode() + b"x\n"


def read(pieces: list[bytes]) -> tuple[list[protocol.Event], bytes, Reply]:
    """Feed all pieces; log bytes are joined, since their pieces follow the wire."""
    reply = Reply(NONCE)
    events: list[protocol.Event] = []
    log = b""
    for piece in pieces:
        for event in reply.feed(piece):
            if isinstance(event, protocol.LogData):
                assert event.offset == 5 + len(log)
                log += event.data
            else:
                events.append(event)
    return events, log, reply


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return ``data`` cut at some places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in zip(ends, ends[1:])]


def test_every_frame_is_read() -> None:
    events, log, reply = read([b"motd without end", WHOLE, b"bye\nmissing x\n"])
    assert events[: len(EVENTS)] == EVENTS
    failed, log_end, end = events[len(EVENTS) :]
    assert isinstance(failed, protocol.Failed) and "remote_base_dir" in failed.hint
    assert log_end == protocol.LogEnd(ID, 5, len(LOG), 4711)
    assert end == protocol.End()
    assert log == LOG
    assert (reply.begun, reply.ended) == (True, True)
    assert reply.preamble == b"motd without end\n"


@given(st.lists(st.integers(0, 10_000)), st.binary(max_size=300))
def test_splits_do_not_matter(places: list[int], noise: bytes) -> None:
    assert read(cut(noise + WHOLE, places))[:2] == read([WHOLE])[:2]


@given(st.integers(0, len(WHOLE) - 1))
def test_what_was_cut_off_is_a_prefix(length: int) -> None:
    whole, log, _ = read([WHOLE])
    events, part, reply = read([WHOLE[:length]])
    assert events == whole[: len(events)]
    assert log.startswith(part)
    assert not reply.ended


@given(st.lists(st.binary(max_size=200)))
def test_any_bytes_before_the_fence_are_noise(pieces: list[bytes]) -> None:
    events, log, reply = read(pieces)
    assert (events, log, reply.begun) == ([], b"", False)
    assert reply.preamble == b"".join(pieces)[:2000]


@given(st.binary(max_size=400), st.lists(st.integers(0, 500)))
def test_any_bytes_inside_the_fence_raise_one_error_at_most(
    data: bytes, places: list[int]
) -> None:
    try:
        read([FENCE, *cut(data, places)])
    except ProtocolError as error:
        assert error.reply


@given(st.binary(max_size=3000), st.lists(st.integers(0, 4000)))
def test_any_log_arrives_as_it_is(data: bytes, places: list[int]) -> None:
    closing = b"\n%s 3000\nend\n" % NONCE.encode()
    wire = FENCE + b"log %s 5\n" % ID.encode() + data + closing
    events, log, reply = read(cut(wire, places))
    assert log == data
    assert events == [protocol.LogEnd(ID, 5, len(data), 3000), protocol.End()]


@pytest.mark.parametrize(
    "line",
    [
        b"what is this\n",
        b"hello box b nan setsid\n",
        b"journal 7 -1\n",
        b"beat beat\n",
        b"log ../../../x 0\n",
        b"log /etc/passwd 0\n",
        b"log aaaabbbbccccdddd\n",
        b"log aaaabbbbccccdddd 1 -2\n",
        b"log aaaabbbbccccdddd 1 2 3\n",
        b"end of it\n",
        b"x" * 70_000,
    ],
)
def test_nonsense_inside_the_fence(line: bytes) -> None:
    reply = Reply(NONCE)
    assert reply.feed(FENCE + b"beat\n") == [protocol.Beat()]
    with pytest.raises(ProtocolError):
        reply.feed(line)
    with pytest.raises(ProtocolError):
        reply.feed(b"end\n")
    assert not reply.ended


@pytest.mark.parametrize(
    ("line", "job_id"),
    [
        (b"started aaaabbbbccccdddd x 1 1 b n 1\n", ID),
        (b"started aaaabbbbccccdddd 1 1 1 b n nan\n", ID),
        (b"started aaaabbbbccccdddd\n", ID),
        (b"claimed aaaabbbbccccdddd ../../x 1 RUNNING 1\n", ID),
        (b"claimed aaaabbbbccccdddd eeeeffffgggghhhh 1 DONE 1\n", ID),
        (b"elsewhere aaaabbbbccccdddd " + b"n" * 70_000 + b"\n", ID),
        (b"ended aaaabbbbccccdddd x - - 1 2 0 \n", ID),
        (b"prepared \n", ""),
        (b"killsent /home/me/.ssh/id_demo\n", ""),
        (b"reaped AAAABBBBCCCCDDDD\n", ""),
    ],
)
@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_what_cannot_be_read_of_a_job_costs_that_job(
    line: bytes, job_id: str, size: int
) -> None:
    wire = FENCE + line + b"missing eeeeffffgggghhhh\nend\n"
    events, _, reply = read([wire[at : at + size] for at in range(0, len(wire), size)])
    unread, *others = events
    assert isinstance(unread, protocol.Unread)
    assert unread.job_id == job_id
    assert unread.detail.isprintable() and len(unread.detail) < 500
    assert others == [protocol.Missing(OTHER), protocol.End()]
    assert reply.ended


def test_words_cannot_drive_a_terminal_or_the_next_program() -> None:
    line = b"started %s 1 2 9%%0Ac%%20x;* b%%1B n%%FF 1\nend\n" % ID.encode()
    (started, _), _, _ = read([FENCE + line])
    assert isinstance(started, protocol.Started)
    assert started.start == "9_0Ac_20x__"
    assert (started.boot_id, started.node) == ("b\\x1b", "n\\xff")


def test_a_status_that_no_process_can_have_is_none() -> None:
    line = b"ended %s 256 128 - 1 2 0 \nend\n" % ID.encode()
    (ended, _), _, _ = read([FENCE + line])
    assert ended == protocol.Ended(ID, None, None, "", "", 1.0, 2.0, 0)


def test_facts_before_nonsense_count() -> None:
    reply = Reply(NONCE)
    assert reply.feed(FENCE + b"beat\nnonsense\n") == [protocol.Beat()]
    with pytest.raises(ProtocolError):
        reply.feed(b"")


def test_another_rounds_fence_is_noise() -> None:
    reply = Reply(NONCE)
    assert reply.feed(FENCE.replace(b"aa\n", b"bb\n") + b"end\n") == []
    assert not reply.begun


REQUEST = Request(
    base_dir="~/it's here",
    journal=("7", 9),
    kills=(OTHER,),
    starts=(
        Start(
            ID,
            Spec(
                command=b"echo 'a' # no comment",
                env=(("TOKEN", b"s3cr't"),),
                cwd="~/x y",
                timeout=1.5,
                stdin=b"-\0\\%",
            ),
            key="k'ey",
            once=True,
            name="n a\nm",
        ),
        Start(OTHER, Spec(command=(b"printf", b"%s", b"a'b\n"))),
    ),
    checks=(Check(ID, 7, "99"), Check(OTHER, None, "")),
    reaps=(Reap(ID, 9),),
    logs=(LogWant(ID, 5, 100),),
    listing=True,
)


@pytest.mark.parametrize("shell", ["sh", "bash --posix", "busybox sh"])
def test_a_program_is_a_program(shell: str) -> None:
    program = protocol.build(REQUEST, NONCE)
    try:
        ran = subprocess.run(
            [*shell.split(), "-n"], input=program, capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip(f"no {shell} here")
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_a_program_is_one_compound() -> None:
    program = protocol.build(REQUEST, NONCE)
    assert program.startswith(protocol.GUARD + b"{\n")
    assert program.endswith(b"\n}\nexit 0\n")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 60_000))
def test_a_cut_program_does_nothing(length: int) -> None:
    program = protocol.build(REQUEST, NONCE).removesuffix(b"\n}\nexit 0\n")
    ran = subprocess.run(
        ["sh"], input=program[:length], capture_output=True, check=False, env={}
    )
    assert ran.stdout == b""


WORD = st.binary(max_size=200).map(lambda data: data.replace(b"\0", b""))


@settings(max_examples=60, deadline=None)
@given(WORD)
def test_a_quoted_word_is_the_word(word: bytes) -> None:
    text = b"printf %s " + quoting.quote(word) + b"\n"
    ran = subprocess.run(["sh"], input=text, capture_output=True, check=True)
    assert ran.stdout == word


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_a_printf_format_prints_the_bytes(data: bytes) -> None:
    text = b"printf " + quoting.quote(quoting.build_printf_format(data)) + b"\n"
    ran = subprocess.run(["sh"], input=text, capture_output=True, check=True)
    assert ran.stdout == data


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        (b"# a\n#b\n\n  x=1 # c\ny\n", b"x=1 # c\ny\n"),
        (b"x=${y#z} $# a#b\n", b"x=${y#z} $# a#b\n"),
        (b"\t# a\n\ty \n \n", b"y \n"),
        (b"it\\'s # here\n", b"it\\'s # here\n"),
    ],
)
def test_lines_of_comment_and_indentation_go(text: bytes, stripped: bytes) -> None:
    assert programs.strip_comments(text) == stripped


def test_a_program_holds_no_comment_of_ours() -> None:
    assert b"Theory of operation" not in protocol.build(REQUEST, NONCE)


def test_values_of_a_spec_cannot_pose_as_fields() -> None:
    sly = Start(ID, Spec(command=b"x", cwd="/\nsj_digest='y'\nsj_ok=1"), key="a\nb")
    lines = starts._build_spec_file(sly).splitlines()
    fields = [line for line in lines if line.startswith(b"sj_digest=")]
    assert fields[0] == b"sj_digest='%s'" % sly.spec.digest().encode()
