"""One suite, looped over every way to run a command."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sshjobs import transports
from sshjobs.errors import CommandTimeout
from sshjobs.transports.pump import Pump
from tests.cli import eventually
from tests.transport_caller import TransportCaller

WAYS = ("local", "native", "ssh", "fabric")
ALL_BYTES = bytes(range(256)) * 40


@pytest.fixture(params=WAYS)
def way(
    request: pytest.FixtureRequest, new_caller: Callable[..., TransportCaller]
) -> Callable[..., TransportCaller]:
    """Makes a caller by one of the ways, with the settings that are given."""

    def make(**values: object) -> TransportCaller:
        if request.param == "local":
            return new_caller(None, **values)
        server = request.getfixturevalue("sshd")
        if request.param == "fabric":
            return new_caller(server, transport="fabric", **values)
        return new_caller(server, mux=request.param, **values)

    return make


@pytest.fixture
def any_way(way: Callable[..., TransportCaller]) -> TransportCaller:
    """A caller with default settings, by one of the ways."""
    return way()


def collect(
    transport: transports.Transport,
    script: str,
    stdin: bytes = b"",
    timeout: float = 20,
) -> tuple[transports.Completed, bytes]:
    """Run a command and return its end and its stdout."""
    pieces: list[bytes] = []
    end = transport.run(script, stdin=stdin, timeout=timeout, sink=pieces.append)
    return end, b"".join(pieces)


@pytest.mark.parametrize("status", [0, 1, 130, 255])
def test_exit_status_is_the_command_s_own(
    any_way: TransportCaller, status: int
) -> None:
    assert any_way.run(f"exit {status}") == (status, b"")


def test_program_on_stdin_of_exec_sh(any_way: TransportCaller) -> None:
    assert any_way.run("exec sh", b"{ echo one; exit 3; }\n") == (3, b"one\n")


def test_every_byte_goes_in_and_comes_out(any_way: TransportCaller) -> None:
    assert any_way.run("cat", ALL_BYTES) == (0, ALL_BYTES)


def test_twenty_megabytes_both_ways_do_not_wait_for_each_other(
    any_way: TransportCaller,
) -> None:
    data = os.urandom(1 << 20) * 20
    status, out = any_way.run("cat", data)
    assert status == 0
    assert out == data


def test_stdin_that_nobody_reads_is_no_failure(any_way: TransportCaller) -> None:
    assert any_way.run("exec <&-; exit 4", bytes(5 << 20)) == (4, b"")


def test_empty_stdin_is_at_its_end(any_way: TransportCaller) -> None:
    assert any_way.run("wc -c | tr -d ' '") == (0, b"0\n")


def test_head_of_stderr_is_kept_and_its_flood_blocks_nothing(
    any_way: TransportCaller,
) -> None:
    script = "yes 0123456 | head -c 3000000 >&2; echo out"
    end, out = collect(any_way.connect(), script)
    assert (end.exit_status, out, end.stdout_bytes) == (0, b"out\n", 4)
    assert end.stderr == b"0123456\n" * 1024


def test_stderr_has_no_line_of_ssh_s_own(any_way: TransportCaller) -> None:
    end, _ = collect(any_way.connect(), "exit 255")
    assert end.stderr == b""


def test_end_by_a_signal_is_no_status(any_way: TransportCaller) -> None:
    assert any_way.run("kill -KILL $$") == (None, b"")


def test_several_commands_one_after_the_other(any_way: TransportCaller) -> None:
    transport = any_way.connect()
    for number in range(5):
        end, out = collect(transport, f"echo {number}")
        assert (end.exit_status, out) == (0, b"%d\n" % number)
    transport.close()


def test_what_the_sink_raises_goes_through_and_nothing_is_left(
    any_way: TransportCaller,
) -> None:
    class Enough(Exception):
        pass

    def sink(piece: bytes) -> None:
        raise Enough(piece)

    transport = any_way.connect()
    with pytest.raises(Enough):
        transport.run("echo one; sleep 2", stdin=b"", timeout=20, sink=sink)
    assert collect(transport, "echo two")[1] == b"two\n"


def test_stdin_is_made_while_the_other_side_starts(
    any_way: TransportCaller, place: Path
) -> None:
    place.chmod(0o777)

    def make_stdin() -> bytes:
        eventually(lambda: (place / "begun").exists())
        return b"two\n"

    transport = any_way.connect()
    pieces: list[bytes] = []
    transport.run(
        f"echo one >{place}/begun; exec cat",
        stdin=make_stdin,
        timeout=20,
        sink=pieces.append,
    )
    assert b"".join(pieces) == b"two\n"


def test_stdin_that_cannot_be_made_runs_nothing(any_way: TransportCaller) -> None:
    class Damaged(Exception):
        pass

    def make_stdin() -> bytes:
        raise Damaged

    transport = any_way.connect()
    pieces: list[bytes] = []
    with pytest.raises(Damaged):
        transport.run("exec sh", stdin=make_stdin, timeout=20, sink=pieces.append)
    assert pieces == []
    assert collect(transport, "exec sh", b"{ echo next; }\n")[1] == b"next\n"


class Taker:
    """Takes stdout: a word first, kept apart; on our word, all else into a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT)
        self.first = b""

    def take(self, pipe: int) -> int:
        if self.first != b"fence":
            piece = os.read(pipe, 100)
            self.first += piece
            return len(piece)
        return os.splice(pipe, self.fd, 1_000_000)

    def answer(self) -> bytes:
        return b"go\n" if self.first == b"fence" else b""

    def run(
        self, transport: transports.Transport, script: str, timeout: float = 20
    ) -> transports.Completed:
        return transport.run(
            script,
            stdin=b"first\n",
            timeout=timeout,
            sink=lambda piece: None,
            into=transports.StdoutTaker(self.take, self.answer),
        )


@pytest.fixture
def taker(place: Path) -> Iterator[Taker]:
    taker = Taker(place / "taken")
    yield taker
    os.close(taker.fd)


def test_stdout_is_taken_and_what_takes_it_has_a_word(
    any_way: TransportCaller, taker: Taker
) -> None:
    script = "printf fence; read -r a; read -r b; echo $a $b; head -c 3000000 /dev/zero"
    end = taker.run(any_way.connect(), f"{script}; echo err >&2; wc -c; exit 3")
    whole = b"first go\n" + bytes(3_000_000)
    assert taker.path.read_bytes().split(b"0\n") == [whole, b""]
    assert (end.exit_status, end.stderr) == (3, b"err\n")
    assert end.stdout_bytes == len(b"fence") + len(whole) + 2


def test_what_is_taken_now_and_then_is_no_silence(
    any_way: TransportCaller, taker: Taker
) -> None:
    script = "for i in 1 2 3 4 5 6; do printf $i; sleep 0.3; done"
    assert taker.run(any_way.connect(), script, timeout=1.2).exit_status == 0
    assert taker.first == b"123456"
    with pytest.raises(CommandTimeout):
        taker.run(any_way.connect(), "printf a; exec sleep 5", timeout=0.5)


def test_what_takes_stdout_may_raise(any_way: TransportCaller) -> None:
    class Enough(Exception):
        pass

    def take(pipe: int) -> int:
        raise Enough(pipe)

    transport = any_way.connect()
    with pytest.raises(Enough):
        transport.run(
            "echo one; sleep 2",
            stdin=b"",
            timeout=20,
            sink=lambda piece: None,
            into=transports.StdoutTaker(take, lambda: b""),
        )
    assert collect(transport, "echo two")[1] == b"two\n"


@pytest.mark.parametrize("is_small", [False, True])
def test_what_fills_the_pipe_is_not_waited_for(
    is_small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While we sleep, a full pipe holds up the master, and all of its sessions."""
    naps: list[float] = []
    if is_small:
        monkeypatch.setattr(fcntl, "F_SETPIPE_SZ", -1)
    times = 5

    def take(pipe: int) -> int:
        nonlocal times
        count = len(os.read(pipe, 1 << 20))
        times -= bool(count)
        if times:
            os.write(pump.theirs[1], b"x" * count)
        else:
            pump.close_handed_ends()
        return count

    taker = transports.StdoutTaker(take, lambda: b"")
    pump = Pump(b"", lambda piece: None, 20.0, into=taker)
    os.set_blocking(pump.theirs[1], False)
    os.write(pump.theirs[1], b"x" * (1 << 20))
    monkeypatch.setattr(time, "sleep", naps.append)
    pump.run(-1, lambda: not times)
    pump.close()
    assert len(naps) == 1  # before the first: one packet may be all there is


def test_a_command_hears_at_once_that_nobody_wants_it_any_more(
    any_way: TransportCaller, place: Path
) -> None:
    class Enough(Exception):
        pass

    def sink(piece: bytes) -> None:
        if piece:
            raise Enough

    place.chmod(0o777)
    for number, how in enumerate((Enough, CommandTimeout)):
        mark = place / f"heard{number}"
        say = "echo up" if how is Enough else ":"
        with pytest.raises(how):
            any_way.connect().run(
                f"{say}; cat >/dev/null; echo >{mark}",
                stdin=b"x",
                timeout=20 if how is Enough else 0.5,
                sink=sink,
                keep_stdin_open=True,
            )
        eventually(mark.exists, "the end of its input")


def test_sink_is_called_while_nothing_comes(any_way: TransportCaller) -> None:
    """The command ends only once the sink was called with nothing and said so."""
    mark = any_way.folder.parent / "mark"
    pieces: list[bytes] = []

    def sink(piece: bytes) -> None:
        pieces.append(piece)
        if not piece:
            mark.touch()

    script = f"echo a; until test -e {mark}; do sleep 0.05; done; echo b"
    end = any_way.connect().run(script, stdin=b"", timeout=20, sink=sink)
    assert end.exit_status == 0
    assert b"".join(pieces) == b"a\nb\n"


def test_silence_is_a_timeout_that_says_so(any_way: TransportCaller) -> None:
    transport = any_way.connect()
    with pytest.raises(CommandTimeout) as caught:
        collect(transport, "echo begun; exec sleep 5", timeout=0.5)
    assert any_way.host in str(caught.value)
    assert "command_timeout" in caught.value.hint
    assert collect(transport, "echo next")[1] == b"next\n"


def test_a_command_that_speaks_now_and_then_is_not_silent(
    any_way: TransportCaller,
) -> None:
    script = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done"
    end, out = collect(any_way.connect(), script, timeout=1.2)
    assert (end.exit_status, out) == (0, b"1\n2\n3\n4\n5\n6\n")


def test_nothing_of_our_environment_reaches_the_command(
    way: Callable[..., TransportCaller], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SJ_SECRET", "LANG", "LC_ALL", "LC_SECRET", "SSHJOBS_HOME"):
        monkeypatch.setenv(name, "leaked-value")
    caller = way(master_env="SJ_SECRET LC_SECRET")
    if caller.host != "local":
        with open(caller.values["ssh_config"], "a", encoding="utf-8") as config:
            config.write("    SendEnv LANG LC_* SJ_*\n")
    status, out = caller.run("exec env")
    assert status == 0
    assert b"leaked-value" not in out
    assert b"HOME=/" in out


def test_command_starts_at_home_in_a_session_of_its_own(
    any_way: TransportCaller,
) -> None:
    status, out = any_way.run('cd; pwd; test "$OLDPWD" = "$PWD"; echo $?')
    here, same = out.decode().split()
    assert (status, same) == (0, "0")
    assert here.startswith("/")
    _, out = any_way.run("cat /proc/self/stat")
    assert int(out.rpartition(b") ")[2].split()[3]) != os.getsid(0)


def test_no_descriptor_is_left_open(any_way: TransportCaller) -> None:
    any_way.run("true")
    before = sorted(os.listdir("/dev/fd"))
    transport = any_way.connect()
    for _ in range(3):
        collect(transport, "echo x")
        with pytest.raises(CommandTimeout):
            collect(transport, "exec sleep 1", timeout=0.05)
    transport.close()
    assert sorted(os.listdir("/dev/fd")) == before


def test_descriptors_of_ours_stay_ours(any_way: TransportCaller, place: Path) -> None:
    """As with ``exec 9>lock; sshjobs run ...``: the job must not keep the lock."""
    fd = os.open(place / "lock", os.O_CREAT | os.O_WRONLY)
    os.set_inheritable(fd, True)
    try:
        _, out = any_way.run("ls -l /proc/self/fd")
    finally:
        os.close(fd)
    assert bytes(place / "lock") not in out


def test_command_line_of_a_hundred_kilobytes(any_way: TransportCaller) -> None:
    word = "x" * 100_000
    status, out = any_way.run(f"echo {word}")
    assert (status, len(out)) == (0, 100_001)


def test_live_connection_costs_no_heavy_import(caller: TransportCaller) -> None:
    """Each BashOperator is a cold process; design §3 names what it must not pay for."""
    caller.run("true")
    code = (
        "import sys; from sshjobs import transports; "
        "from sshjobs.settings import Settings; "
        "identity = transports.Identity.from_bytes(bytes.fromhex(sys.argv[1])); "
        "hooks = transports.CallerHooks(sys.argv[2]); "
        "transport = transports.open_transport(identity, Settings(), hooks); "
        "transport.run('true', stdin=b'', timeout=9, sink=lambda piece: None); "
        "print(*(set('subprocess dataclasses asyncio random inspect importlib.metadata "
        "typing re json "
        "sshjobs.transports.openssh.handshake sshjobs.transports.gate "
        "tempfile'.split())"
        " & set(sys.modules)))"
    )
    known = caller.identity.to_bytes().hex()
    # -S -s: what site packages import is not ours.
    argv = [sys.executable, "-S", "-s", "-c", code, known, str(caller.folder)]
    root = str(Path(transports.__file__).parents[2])
    done = subprocess.run(
        argv, env={"PYTHONPATH": root}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"
