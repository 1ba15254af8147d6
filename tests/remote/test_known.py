"""An answer without an awk is the answer of awk; the odd is left to it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.protocol import Check, Request
from tests.remote.host import Host, an_order, gone, of, wait

_ANSWER = b'[ -z "$sj_ask" ] || sj_answer_few\n'
_JUDGE = b'[ -z "$sj_ask" ] || sj_judge_asked\n'


def have_no_awk(program: bytes) -> bytes:
    """Return the program whose round is broken if it asks awk."""
    assert _JUDGE in program
    return program.replace(_JUDGE, b"[ -z \"$sj_ask\" ] || sj_broken='awk'\n")


def have_awk_alone(program: bytes) -> bytes:
    """Return the program that has awk judge everything."""
    assert _ANSWER in program
    return program.replace(_ANSWER, b"")


def find_journal(host: Host) -> tuple[str, int]:
    """Return up to where the journal was read."""
    (at,) = of(protocol.JournalAt, host.run(Request()))
    return at.generation, at.offset


def tell(host: Host, request: Request) -> list[protocol.Event]:
    """Return what is said but for the time and the place in the journal."""
    kinds = (protocol.Hello, protocol.JournalAt)
    return [event for event in host.run(request) if not isinstance(event, kinds)]


def run_to_its_end(host: Host, command: bytes, **how: object) -> protocol.Started:
    job_id = host.start(command, **how)
    host.end(job_id)
    (started,) = of(protocol.Started, host.check(job_id))
    wait(lambda: (host.jobs / job_id / "exit").exists() and gone(started.pid))
    return started


def test_a_start_is_told_by_its_runner(any_host: Host) -> None:
    journal = find_journal(any_host)
    if "ksh" not in any_host.path:  # its $() does not wait for all that write to it
        any_host.edit = have_no_awk
    orders = tuple(an_order(b"sleep 30") for _ in range(3))
    said = tell(any_host, Request(journal=journal, starts=orders))
    started = {one.job_id: one for one in of(protocol.Started, said)}
    assert started.keys() == {order.job_id for order in orders}
    assert [type(one) for one in said if one not in started.values()] == [protocol.End]
    for job_id, one in started.items():
        record = (any_host.jobs / job_id / "run").read_text()
        assert f"\npid={one.pid}\nstart={one.start}\n" in record
        assert f"\npgid={one.pgid}\n" in record and one.pgid > 1
        assert f"\nstarted_at={one.started_at}" in record


def test_what_is_as_it_was_is_told_by_nothing(any_host: Host) -> None:
    one = any_host.running(b"sleep 30")
    journal = find_journal(any_host)
    any_host.edit = have_no_awk
    check = Check(one.job_id, one.pid, one.start)
    request = Request(journal=journal, checks=(check,))
    assert [type(event) for event in tell(any_host, request)] == [protocol.End]


def test_a_process_may_have_any_name(any_host: Host) -> None:
    shell = shutil.which("sh", path=any_host.path)
    assert shell
    text = (Path(protocol.__file__).parent.parent / "remote/shell.sh").read_text()
    line = "12 (a) Z 1 (b) X 2) S 1 12"
    text += f"sj_cut_process_name '{line}'\nprintf '%s\\n' \"$sj_fields\"\n"
    done = subprocess.run([shell], input=text.encode(), capture_output=True, check=True)
    assert done.stdout == b"S 1 12\n"


@pytest.mark.parametrize(
    ("command", "how"),
    [
        (b"true", {}),
        (b"exit 7", {}),
        (b"kill -9 $$", {}),
        (b"echo out; echo err >&2", {"split": True}),
        (b"echo some log", {}),
        (b"sleep 30 & echo left", {}),
    ],
)
@pytest.mark.parametrize("is_known", [True, False])
def test_an_end_is_told_as_awk_tells_it(
    any_host: Host, command: bytes, how: dict[str, bool], is_known: bool
) -> None:
    one = run_to_its_end(any_host, command, **how)
    journal = find_journal(any_host)
    check = Check(one.job_id, one.pid, one.start)
    if not is_known:
        check = Check(one.job_id, None, "")
    request = Request(journal=journal, checks=(check,))
    any_host.edit = have_awk_alone
    told = tell(any_host, request)
    assert len(of(protocol.Ended, told)) == 1
    assert len(of(protocol.Started, told)) == (not is_known)
    any_host.edit = have_no_awk
    assert tell(any_host, request) == told


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


def replace(old: str, new: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        text = path.read_bytes()
        assert old.encode() in text
        path.write_bytes(text.replace(old.encode(), new.encode("latin-1"), 1))

    return spoil


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_huge(path: Path) -> None:
    with open(path, "r+b") as file:
        file.truncate(2_000_000)


SPOILT: dict[str, Callable[[Path], None]] = {
    "a fifo": make_fifo,
    "a link": make_link,
    "a directory": make_directory,
    "huge": make_huge,
    "empty": make_empty,
    "no end": replace("\nend=", "\n"),
    "an end in a value": replace("\nreason=", "\nend=\nreason="),
    "a word for a pid": replace("\npid=", "\npid=x"),
    "a long pid": replace("\npid=", "\npid=99999999999"),
    "no pid": replace("\npid=", "\nPID="),
    "a status of 256": replace("\nstatus=0", "\nstatus=256"),
    "a status of words": replace("\nstatus=0", "\nstatus=0 0"),
    "a signal of words": replace("\nsignal=", "\nsignal=9 ended"),
    "a signal of 128": replace("\nsignal=", "\nsignal=128"),
    "a cause of its own": replace("\ncause=", "\ncause=failed"),
    "another cause": replace("\ncause=", "\ncause=x y"),
    "an odd reason": replace("\nreason=", "\nreason=\x1b[2J\xff"),
    "a plain reason": replace("\nreason=", "\nreason=it was ended; see a_b-c"),
    "a long reason": replace("\nreason=", "\nreason=" + "long " * 300),
    "an odd time": replace("\nfinished_at=", "\nfinished_at=x"),
    "two points in a time": replace("\nfinished_at=", "\nfinished_at=1."),
    "a time of many digits": replace("\nfinished_at=", "\nfinished_at=1" + "0" * 30),
    "an odd node": replace("\nnode=", "\nnode=a b"),
    "an odd start": replace("\nstart=", "\nstart=$(id)`id`"),
    "a code for a name": replace("\nnode=", "\npid start=1\nnode="),
    "a name of all": replace("\nnode=", "\n pid pgid start =1\nnode="),
    "a second status": replace("\nend=", "\nstatus=9\nsignal=9\nend="),
    "a line of no name": replace("\nnode=", "\npid\n=\n\nnode="),
    "a lot of log": replace("\nlog_bytes=", "\nlog_bytes=9999999999"),
    "spaces around": replace("\nreason=", "\n status=3 \nreason=  a  "),
    "a tab": replace("\nstatus=0", "\nstatus=\t0"),
}


@pytest.mark.parametrize("kind", SPOILT)
@pytest.mark.parametrize("is_known", [True, False])
def test_a_spoilt_record_is_told_as_awk_tells_it(
    any_host: Host, kind: str, is_known: bool
) -> None:
    one = run_to_its_end(any_host, b"true")
    record = any_host.jobs / one.job_id / "exit"
    other = record.with_name("run")
    other.unlink()  # they are one file
    other.write_bytes(record.read_bytes())
    SPOILT[kind](record)
    check = Check(one.job_id, one.pid, one.start)
    if not is_known:
        check = Check(one.job_id, None, "")
    request = Request(journal=find_journal(any_host), checks=(check,))
    any_host.edit = have_awk_alone
    told = tell(any_host, request)
    any_host.edit = lambda program: program
    assert tell(any_host, request) == told


def test_who_is_to_end_is_left_to_awk(host: Host) -> None:
    one = host.running(b"sleep 30")
    (host.jobs / one.job_id / "cancel").write_bytes(b"")
    check = Check(one.job_id, one.pid, one.start)
    host.edit = have_no_awk
    request = Request(journal=find_journal(host), checks=(check,))
    assert len(of(protocol.Failed, tell(host, request))) == 1


def many_that_run(host: Host) -> tuple[list[protocol.Started], Request]:
    orders = tuple(an_order(b"echo up; sleep 60") for _ in range(20))
    host.run(Request(starts=orders))
    running = [host.started(order.job_id) for order in orders]
    checks = tuple(Check(one.job_id, one.pid, one.start) for one in running)
    journal = find_journal(host)
    return running, Request(journal=journal, checks=checks, by_number=True)


def test_many_are_looked_for_by_their_numbers(any_host: Host) -> None:
    running, request = many_that_run(any_host)
    any_host.edit = have_no_awk
    assert [type(event) for event in tell(any_host, request)] == [protocol.End]
    # One that is gone is seen at once, by a look at all as they are. A zombie still has
    # its number (PID 1 of a container may never reap it): the next whole look sees it.
    any_host.edit = lambda program: program
    os.kill(running[3].pid, signal.SIGKILL)
    os.killpg(running[3].pgid, signal.SIGKILL)
    wait(lambda: gone(running[3].pid) and gone(running[3].pgid))
    is_zombie = Path(f"/proc/{running[3].pid}").exists()
    said = tell(any_host, request._replace(by_number=not is_zombie))
    assert [one.job_id for one in of(protocol.Lost, said)] == [running[3].job_id]
    # And one that has ended, by the journal: the others are not looked at.
    rest = [one for one in running if one != running[3]]
    checks = tuple(Check(one.job_id, one.pid, one.start) for one in rest)
    request = request._replace(checks=checks, journal=find_journal(any_host))
    os.killpg(rest[0].pgid, signal.SIGTERM)
    wait(lambda: (any_host.jobs / rest[0].job_id / "exit").exists())
    said = tell(any_host, request)
    assert [one.job_id for one in of(protocol.Ended, said)] == [rest[0].job_id]


def test_a_number_that_is_anothers_is_seen_by_the_next_whole_look(host: Host) -> None:
    running, request = many_that_run(host)
    record = host.jobs / running[0].job_id / "run"
    record.write_text(record.read_text().replace("\nstart=", "\nstart=1"))
    assert [type(event) for event in tell(host, request)] == [protocol.End]
    said = tell(host, request._replace(by_number=False))
    assert {getattr(one, "job_id", "") for one in said} == {running[0].job_id, ""}


@pytest.mark.parametrize("starts", [(), (an_order(b"sleep 30"),)])
def test_after_a_boot_all_are_looked_at(
    host: Host, starts: tuple[protocol.Start, ...]
) -> None:
    _, request = many_that_run(host)
    request = request._replace(starts=starts)
    (tools,) = host.base.glob("*/tools")
    tools.write_text(tools.read_text().replace(" ", "x ", 1))
    host.edit = have_no_awk
    assert len(of(protocol.Failed, tell(host, request))) == 1
