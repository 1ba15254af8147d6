"""Submits that are handed over to another process: written down once, whoever dies."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import sshjobs
from sshjobs.model import new_job_id
from sshjobs.rounds import Coordinator
from sshjobs.startup import handover
from sshjobs.verbs.context import Context
from tests.cli import Ended, end_jobs, eventually, finish

pytestmark = [
    pytest.mark.quick,
    pytest.mark.skipif(sys.platform != "linux", reason="abstract names of sockets"),
]

#: The console script, on a machine on which any process is one of a crowd.
RUN = """
import sys, time
from sshjobs.startup import finder, handover
finder._CROWD = -1
{more}
finder.install_finder()
finder.hand_over_in_crowd()
from sshjobs.cli.main import run_as_process
run_as_process()
"""

#: One that listens, and hears nobody for some seconds after it has begun.
DEAF = """
from sshjobs.verbs.handover_receiver import HandoverReceiver
hear = HandoverReceiver.receive_wishes
until = time.monotonic() + {seconds}
HandoverReceiver.receive_wishes = lambda self: time.monotonic() > until and hear(self)
"""

SHORT_PATIENCE = "handover.PATIENCE = 0.5"

Process = subprocess.Popen[bytes]


class Crowd:
    """A home, the host ``local``, and processes that submit to it at once."""

    def __init__(self, place: Path) -> None:
        self.base = place / "base"
        self.ran = place / "ran"
        self.ran.touch()
        top = str(Path(sshjobs.__file__).parent.parent)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("SSHJOBS")}
        self.env |= {"SSHJOBS_HOME": str(place / "home"), "PYTHONPATH": top}
        self.env |= {"SSHJOBS_REMOTE_BASE_DIR": str(self.base)}
        self.env |= {"SSHJOBS_SHELL_STARTUP": "none"}
        self.started: list[Process] = []
        self.ctx = Context(self.env)

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()
        self.ctx.close()
        end_jobs(self.base)

    def start(self, *flags: str, more: str = "", **env: str) -> Process:
        """Start a submit whose job writes a line down."""
        line = f"echo $SSHJOBS_JOB_ID >>{self.ran}"
        words = ["submit", "local", *flags, "--", line]
        self.started.append(
            subprocess.Popen(
                [sys.executable, "-c", RUN.replace("{more}", more), *words],
                env=self.env | env,
                cwd=self.base.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
            )
        )
        return self.started[-1]

    def start_receiver(self, more: str = "") -> Process:
        process = self.start(more=more)
        eventually(lambda: find_name(process), "it listens")
        return process

    def start_senders(self, count: int, *flags: str, more: str = "") -> list[Process]:
        """Start some that wait for the answer of another process."""
        senders = [self.start(*flags, more=more) for _ in range(count)]
        for sender in senders:
            eventually(lambda: is_sender(sender), "it waits for an answer")
        return senders

    def list_owners(self) -> list[int]:
        """Return the processes of the open starts of the record."""
        sql = "SELECT pid FROM intents WHERE kind = 'start' AND done = 0"
        return [pid for (pid,) in self.ctx.store._database.fetch_rows(sql)]

    def list_ids(self) -> set[str]:
        """Return the ids of the jobs of the record."""
        sql = "SELECT id FROM jobs"
        return {job_id for (job_id,) in self.ctx.store._database.fetch_rows(sql)}

    def check_each_ran_once(self, ends: list[Ended]) -> None:
        """All have printed an id of their own, whose job runs once."""
        assert [end.status for end in ends] == [0] * len(ends), ends
        ids = sorted(end.out.strip() for end in ends)
        assert set(ids) <= self.list_ids()
        eventually(lambda: set(ids) <= set(self.ran.read_text().split()), "all ran")
        assert len(set(ids)) == len(ids)
        lines = self.ran.read_text().split()
        assert len(lines) == len(set(lines))


def find_name(process: Process) -> str:
    """Return the name at which a process listens, "" if it does not."""
    inodes = set()
    for entry in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            inodes.add(os.readlink(entry)[8:-1])
        except OSError:
            continue
    for line in Path("/proc/net/unix").read_text().splitlines():
        words = line.split()
        # unix(7): flags 00010000 is a socket that listens
        if words[3:4] == ["00010000"] and words[6] in inodes:
            return words[7] if words[7:] and words[7].startswith("@sshjobs-") else ""
    return ""


def is_sender(process: Process) -> bool:
    """Tell whether a process waits for an answer: it sleeps, with a socket open."""
    folder = Path(f"/proc/{process.pid}")
    try:
        targets = [os.readlink(entry) for entry in (folder / "fd").iterdir()]
        state = (folder / "stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return False
    has_store = any("/home/" in target for target in targets)
    has_socket = any(target.startswith("socket:") for target in targets)
    return state == "S" and has_socket and not has_store and not find_name(process)


@pytest.fixture
def crowd(place: Path) -> Iterator[Crowd]:
    with closing(Crowd(place)) as made:
        yield made


@pytest.fixture
def leader(crowd: Crowd) -> Iterator[Coordinator]:
    """This process leads the rounds of the host: nobody is served meanwhile."""
    with crowd.ctx.coordinator("local") as made:
        assert made.leadership.lock.try_to_lead()
        yield made


def let_others_lead(leader: Coordinator) -> None:
    leader.leadership.lock.release()
    leader.leadership.bell.ring_others()


def test_the_first_writes_down_the_jobs_of_all(
    crowd: Crowd, leader: Coordinator
) -> None:
    first = crowd.start_receiver()
    senders = crowd.start_senders(5, "--name", "n", "--timeout", "60", "--cwd=/")
    eventually(lambda: len(crowd.list_owners()) == 6, "all are written down")
    assert sorted(crowd.list_owners()) == sorted(p.pid for p in (first, *senders))
    assert all(is_sender(sender) for sender in senders)
    let_others_lead(leader)
    ends = finish([first, *senders])
    crowd.check_each_ran_once(ends)
    assert crowd.list_owners() == []
    job = crowd.ctx.store.jobs.find_job(ends[1].out.strip())
    assert job and (job.name, job.timeout, job.cwd) == ("n", 60.0, "/")


def test_those_that_come_too_late_are_taken_in_by_one_of_themselves(
    crowd: Crowd, leader: Coordinator
) -> None:
    first = crowd.start_receiver(DEAF.replace("{seconds}", "600"))
    senders = crowd.start_senders(4)
    eventually(lambda: crowd.list_owners() == [first.pid], "the first has written")
    let_others_lead(leader)
    crowd.check_each_ran_once(finish([first, *senders]))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("heard", [True, False])
def test_the_others_go_on_without_the_first(
    crowd: Crowd, leader: Coordinator, number: signal.Signals, heard: bool
) -> None:
    first = crowd.start_receiver("" if heard else DEAF.replace("{seconds}", "600"))
    senders = crowd.start_senders(4)
    count = 5 if heard else 1
    eventually(lambda: len(crowd.list_owners()) == count, "they are written down")
    first.send_signal(number)
    first.wait()
    let_others_lead(leader)
    crowd.check_each_ran_once(finish(senders))


@pytest.mark.parametrize("heard", [True, False])
def test_nobody_waits_for_ever_for_one_that_is_stopped(
    crowd: Crowd, leader: Coordinator, heard: bool
) -> None:
    first = crowd.start_receiver("" if heard else DEAF.replace("{seconds}", "600"))
    senders = [crowd.start(more=SHORT_PATIENCE) for _ in range(3)]
    eventually(lambda: first.pid in crowd.list_owners(), "it has written its own")
    if heard:
        eventually(lambda: len(crowd.list_owners()) == 4, "all are written down")
    first.send_signal(signal.SIGSTOP)
    eventually(lambda: len(crowd.list_owners()) == 4, "all are written down")
    let_others_lead(leader)
    crowd.check_each_ran_once(finish(senders))
    first.send_signal(signal.SIGCONT)
    crowd.check_each_ran_once(finish([first]))


def test_who_has_given_up_is_not_written_down_later(
    crowd: Crowd, leader: Coordinator
) -> None:
    first = crowd.start_receiver(DEAF.replace("{seconds}", "3"))
    (patient,) = crowd.start_senders(1)
    hasty = crowd.start(more=SHORT_PATIENCE)
    (killed,) = crowd.start_senders(1)
    killed.kill()
    eventually(lambda: hasty.pid in crowd.list_owners(), "one looks after its own")
    eventually(lambda: patient.pid in crowd.list_owners(), "one is taken in")
    pids = sorted(process.pid for process in (first, patient, hasty))
    assert sorted(crowd.list_owners()) == pids
    let_others_lead(leader)
    crowd.check_each_ran_once(finish([first, patient, hasty]))


@pytest.mark.parametrize("heard", [True, False])
def test_ctrl_c_takes_back_a_job_that_was_handed_over(
    crowd: Crowd, leader: Coordinator, heard: bool
) -> None:
    first = crowd.start_receiver("" if heard else DEAF.replace("{seconds}", "600"))
    (sender,) = crowd.start_senders(1)
    count = 2 if heard else 1
    eventually(lambda: len(crowd.list_owners()) == count, "they are written down")
    sender.send_signal(signal.SIGINT)
    (end,) = finish([sender])
    assert (end.status, end.out) == (130, "")
    assert "nothing was sent" in end.err
    assert crowd.list_owners() == [first.pid] and len(crowd.list_ids()) == 1
    let_others_lead(leader)
    crowd.check_each_ran_once(finish([first]))


@pytest.mark.parametrize(
    ("flags", "env"),
    [
        (["--key", "k"], {}),
        (["--env", "A=1"], {}),
        (["--max-log-bytes", "0"], {}),
        ([], {"SJ_ANY": "other"}),
        ([], {"SSHJOBS_DEBUG": "1"}),
        ([], {"LC_ALL": "C.UTF-8", "SSHJOBS_UNBUFFERED": "false"}),
    ],
)
def test_a_call_of_another_kind_sees_to_its_job_itself(
    crowd: Crowd, leader: Coordinator, flags: list[str], env: dict[str, str]
) -> None:
    first = crowd.start_receiver(DEAF.replace("{seconds}", "600"))
    other = crowd.start(*flags, **env)
    eventually(lambda: other.pid in crowd.list_owners(), "it has written its own")
    let_others_lead(leader)
    ends = finish([first, other])
    assert [end.status for end in ends] == [0, 0]


def test_a_setting_that_asks_for_more_than_a_row_is_left_to_each(
    crowd: Crowd, leader: Coordinator
) -> None:
    """Of the receiver's settings those of its host count for all; here: a turn."""
    crowd.env["SSHJOBS_MAX_RUNNING"] = "1"
    first = crowd.start_receiver()
    others = [crowd.start() for _ in range(3)]
    eventually(lambda: len(crowd.list_owners()) == 4, "all are written down")
    let_others_lead(leader)
    crowd.check_each_ran_once(finish([first, *others]))


def test_a_mistake_is_told_by_the_process_that_made_it(
    crowd: Crowd, leader: Coordinator
) -> None:
    first = crowd.start_receiver()
    wrong = crowd.start("--timeout", "soon")
    empty = crowd.start("--name", "a\nb", "--shell", "")
    (end,) = finish([wrong])
    assert end.status == 64 and "--timeout" in end.err
    let_others_lead(leader)
    assert all(end.status in (0, 64) for end in finish([empty]))
    crowd.check_each_ran_once(finish([first]))


def test_a_quiet_one_prints_nothing_and_a_closed_output_is_told(
    crowd: Crowd, leader: Coordinator
) -> None:
    first = crowd.start_receiver()
    quiet, closed = crowd.start_senders(1, "--quiet") + crowd.start_senders(1)
    eventually(lambda: len(crowd.list_owners()) == 3, "all are written down")
    assert closed.stdout
    closed.stdout.close()
    closed.stdout = None
    let_others_lead(leader)
    ends = finish([first, quiet, closed])
    assert (ends[1].status, ends[1].out, ends[1].err) == (0, "", "")
    assert ends[2].status == 141
    crowd.check_each_ran_once(ends[:1])
    eventually(lambda: len(crowd.ran.read_text().split()) == 3, "each ran")
    assert crowd.list_owners() == []


def test_more_than_it_may_have_open_are_left_to_the_next(
    crowd: Crowd, leader: Coordinator
) -> None:
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))"
    first = crowd.start_receiver(few)
    senders = [crowd.start() for _ in range(30)]
    eventually(lambda: len(crowd.list_owners()) > 20, "half of them are taken in")
    let_others_lead(leader)
    crowd.check_each_ran_once(finish([first, *senders]))


def test_who_would_come_too_late_for_a_round_listens_itself(
    crowd: Crowd, leader: Coordinator
) -> None:
    first = crowd.start_receiver()
    eventually(lambda: crowd.list_owners() == [first.pid], "it has written its own")
    intents = crowd.ctx.store.intents
    sent = [intent.id for intent in intents.list_open(leader.site_id)]
    intents.mark_sent(sent)
    leader.leadership.bell.ring_others()
    eventually(lambda: not find_name(first), "it listens no longer")
    second = crowd.start_receiver()
    (third,) = crowd.start_senders(1)
    eventually(lambda: len(crowd.list_owners()) == 3, "all are written down")
    intents.mark_unsent(sent)
    let_others_lead(leader)
    crowd.check_each_ran_once(finish([first, second, third]))


needs_other_user = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root becomes somebody else"
)


def connect(name: str) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.settimeout(20)
    line.connect("\0" + name[1:])
    return line


def ask(name: str, message: bytes, key: bytes | None = None) -> bytes:
    """Send a message that is signed; return the answers."""
    message = message.replace(b"%s", new_job_id().encode())
    proof = handover.sign(
        handover._read_key() if key is None else key, b"ask" + message
    )
    with connect(name) as line:
        line.send(proof + message)
        return line.recv(100) + line.recv(100)


GOOD = b"%s\0submit\0local\0--\0true"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"x",
        b"\0\0\0",
        b"%s",
        b"../../../etc/passw\0submit\0local\0--\0true",
        b"%s\0submit",
        b"%s\0kill\0local\0--\0true",
        b"%s\0submit\0other\0--\0true",
        b"%s\0submit\0local\0--key\0k\0--\0true",
        b"%s\0submit\0local\0--from\0/etc/passwd\0--",
        b"%s\0submit\0local\0--\0echo\0a",
        b"%s\0submit\0local\0-q\0--",
        b"%s\0submit\0local\0--name\0-h\0--\0true",
        b"%s\0submit\0--help\0--\0true",
        b"%s\0submit\0local\0--cwd\0\xff\xfe\0--\0true",
        b"%s\0submit\0local\0--timeout\0soon\0--\0true",
    ],
)
def test_a_message_that_is_none_is_sent_back(
    crowd: Crowd, leader: Coordinator, message: bytes
) -> None:
    first = crowd.start_receiver()
    eventually(lambda: crowd.list_owners() == [first.pid], "it has written its own")
    assert ask(find_name(first), message) == b"l"
    connect(find_name(first)).close()
    assert crowd.list_owners() == [first.pid]
    let_others_lead(leader)
    crowd.check_each_ran_once(finish([first]))


def test_only_who_knows_the_key_is_heard_or_believed(
    crowd: Crowd, leader: Coordinator
) -> None:
    """A process of the same user in a container that shares the network, say."""
    first = crowd.start_receiver()
    eventually(lambda: crowd.list_owners() == [first.pid], "it has written its own")
    name = find_name(first)
    assert ask(name, GOOD, bytes(32)) == b"l"
    assert crowd.list_owners() == [first.pid]
    let_others_lead(leader)
    ends = finish([first])
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as thief:
        thief.bind("\0" + name[1:])
        thief.listen(10)
        sender = crowd.start()
        line, _ = thief.accept()
        with line:
            assert line.recv(1000)
            line.send(b"s" + b"0" * 16 + b"aaaaaaaaaaaaaaaa\n")
        ends += finish([sender])
    crowd.check_each_ran_once(ends)


def test_one_that_is_stopped_costs_a_later_submit_nothing(
    crowd: Crowd, leader: Coordinator
) -> None:
    first = crowd.start_receiver()
    eventually(lambda: crowd.list_owners() == [first.pid], "it has written its own")
    first.send_signal(signal.SIGSTOP)
    other = crowd.start(more="handover.PATIENCE = 600")
    eventually(lambda: other.pid in crowd.list_owners(), "it does not wait")
    let_others_lead(leader)
    crowd.check_each_ran_once(finish([other]))
    first.send_signal(signal.SIGCONT)
    crowd.check_each_ran_once(finish([first]))


#: A submit whose base directory is another one once its job was handed over.
CHANGED = """
import os
hand_over = handover.hand_over_submit
def change(words):
    found = hand_over(words)
    os.environ["SSHJOBS_REMOTE_BASE_DIR"] += "2"
    return found
handover.hand_over_submit = change
handover.PATIENCE = 1.0
"""


def test_a_row_of_another_connection_is_withdrawn(
    crowd: Crowd, leader: Coordinator
) -> None:
    """The configuration has changed between the start of the two."""
    first = crowd.start_receiver()
    sender = crowd.start(more=CHANGED)
    eventually(lambda: len(crowd.list_owners()) == 2, "both are written down")
    ends = finish([sender])
    let_others_lead(leader)
    crowd.check_each_ran_once(ends + finish([first]))
    sql = "SELECT count(DISTINCT site_id) FROM jobs"
    assert crowd.ctx.store._database.fetch_rows(sql) == [(2,)]
    end_jobs(Path(f"{crowd.base}2"))


@pytest.mark.parametrize("streams", ["<&- >&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_not_mistaken_for_sockets(
    crowd: Crowd, streams: str
) -> None:
    words = [sys.executable, "-c", RUN.replace("{more}", ""), "submit", "local"]
    line = f'exec "$@" -- "echo x >>{crowd.ran}" {streams}'
    argv = ["sh", "-c", line, "sh", *words]
    done = subprocess.run(argv, env=crowd.env, cwd=crowd.base.parent)
    assert done.returncode == 0
    eventually(lambda: len(crowd.ran.read_text().split()) == 1, "it ran")


@needs_other_user
def test_another_user_is_not_heard(crowd: Crowd, leader: Coordinator) -> None:
    first = crowd.start_receiver()
    eventually(lambda: crowd.list_owners() == [first.pid], "it has written its own")
    name, nobody = find_name(first), pwd.getpwnam("nobody").pw_uid
    os.seteuid(nobody)
    try:
        with connect(name) as line:
            try:
                line.send(GOOD)
                assert line.recv(100) == b""
            except (BrokenPipeError, ConnectionResetError):
                pass
    finally:
        os.seteuid(0)
    assert crowd.list_owners() == [first.pid]
    let_others_lead(leader)
    crowd.check_each_ran_once(finish([first]))


def test_the_key_is_of_this_user_alone(crowd: Crowd) -> None:
    crowd.check_each_ran_once(finish([crowd.start()]))
    found = os.stat(Path(handover.KEY_FOLDER, handover.KEY_NAME))
    assert (found.st_mode, found.st_size) == (0o100600, 32)
    assert os.stat(handover.KEY_FOLDER).st_mode == 0o040700


@pytest.mark.parametrize("fault", ["open", "short", "link", "fifo", "folder", "dirs"])
def test_a_key_that_others_could_know_is_not_used(
    crowd: Crowd, leader: Coordinator, fault: str
) -> None:
    """Its process goes alone: of two, each writes its own job."""
    (crowd.base.parent / "keys").mkdir(0o755 if fault == "dirs" else 0o700)
    key = crowd.base.parent / "keys" / "key"
    key.write_bytes(b"short" if fault == "short" else os.urandom(32))
    key.chmod(0o644 if fault == "open" else 0o600)
    if fault in ("link", "fifo", "folder"):
        key.rename(key.with_name("other"))
    if fault == "link":
        key.symlink_to("other")
    if fault == "fifo":
        os.mkfifo(key, 0o600)
    if fault == "folder":
        key.mkdir(0o700)
    more = f"handover.KEY_FOLDER, handover.KEY_NAME = {str(key.parent)!r}, 'key'"
    processes = [crowd.start(more=more) for _ in range(2)]
    eventually(lambda: len(crowd.list_owners()) == 2, "each has written its own")
    assert not any(map(find_name, processes))
    let_others_lead(leader)
    crowd.check_each_ran_once(finish(processes))


@needs_other_user
def test_nothing_is_handed_to_another_user(crowd: Crowd, leader: Coordinator) -> None:
    """The name can be told from /proc/net/unix, and taken by anybody."""
    first = crowd.start_receiver()
    name = find_name(first)
    let_others_lead(leader)
    ends = finish([first])
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as thief:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
        try:
            thief.bind("\0" + name[1:])
            thief.listen(10)
        finally:
            os.seteuid(0)
        ends += finish([crowd.start()])
        line, _ = thief.accept()
        with line:
            assert line.recv(100) == b""
    crowd.check_each_ran_once(ends)


def test_a_row_of_another_connection_that_was_sent_is_left_to_it(
    crowd: Crowd, leader: Coordinator
) -> None:
    crowd.start_receiver()
    sender = crowd.start(more=CHANGED)
    eventually(lambda: sender.pid in crowd.list_owners(), "it is written down")
    intents = crowd.ctx.store.intents
    numbers = {one.pid: one.id for one in intents.list_open(leader.site_id)}
    intents.mark_sent([numbers[sender.pid]])
    (end,) = finish([sender])
    assert end.status == 75 and end.out.strip() in crowd.list_ids()
    assert 0 in crowd.list_owners()  # it outlives the process that asked


FULL = """
from sshjobs.errors import StoreError
from sshjobs.verbs.handover_receiver import HandoverReceiver
def fail(self, senders):
    raise StoreError("database or disk is full")
HandoverReceiver._write_jobs_down = fail
"""


def test_a_receiver_that_cannot_write_leaves_the_others_to_themselves(
    crowd: Crowd, leader: Coordinator
) -> None:
    first = crowd.start_receiver(FULL)
    others = [crowd.start() for _ in range(3)]
    eventually(lambda: len(crowd.list_owners()) == 4, "all are written down")
    let_others_lead(leader)
    crowd.check_each_ran_once(finish([first, *others]))
