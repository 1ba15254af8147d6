"""What a schedule does: drawn from a seed, then done, step by step."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sshjobs.locks import STALE
from tests.faults.world import HASTE, SETTINGS, Command, Home, World, signal_to


class Work(NamedTuple):
    """A job whose log and end are known beforehand."""

    tag: str
    lines: int
    pause: float
    status: int

    def command(self, ran: Path, over: Path | None = None) -> str:
        """Return the shell line.

        Args:
            ran: Where it writes that it ran, into a file named by its id.
            over: Where it makes such a file as the last thing it does.
        """
        mark = f"; : >>{over}/$SSHJOBS_JOB_ID" if over else ""
        loop = (
            f"while [ $i -lt {self.lines} ]; do echo {self.tag} $i; "
            f"i=$((i+1)); sleep {self.pause}; done"
        )
        if not self.pause:
            loop = f"awk 'BEGIN{{for(i=0;i<{self.lines};i++)print \"{self.tag}\",i}}'"
        return (
            f": {self.tag}; echo {self.tag} >>{ran}/$SSHJOBS_JOB_ID; "
            f"i=0; {loop}{mark}; exit {self.status}"
        )

    @property
    def log(self) -> bytes:
        """All that it writes."""
        lines = (f"{self.tag} {number}\n" for number in range(self.lines))
        return "".join(lines).encode()


class Step(NamedTuple):
    """Wait a little, then do this."""

    pause: float
    name: str
    home: int
    rng: int


class Plan(NamedTuple):
    """A schedule that has not been done yet.

    Attributes:
        patient: Who is stopped for long really is; elsewhere its locks are aged.
        hasty: Commands give up soon.
        limit: How many jobs may run on the host at a time; 0 for as many as come.
    """

    seed: int
    options: dict[str, Any]
    small: bool
    mux: str
    steps: list[Step]
    patient: bool = False
    hasty: bool = False
    limit: int = 0


#: Lines, and seconds between two.
_SHAPES = ((1, 0.0), (3, 0.3), (8, 0.1), (5000, 0.0), (12, 0.2))

#: A log that has a session of its own: 13 MB.
_LONG = (1_000_000, 0.0)

_VERBS = (
    ("submit", 6),
    ("submit_key", 5),
    ("submit_from", 2),
    ("run", 4),
    ("run_key", 2),
    ("duel", 3),
    ("poll", 3),
    ("wait", 3),
    ("logs", 3),
    ("kill", 2),
    ("reap", 2),
    ("disconnect", 1),
)
_FAULTS = (
    ("kill_leader", 4),
    ("kill_any", 4),
    ("term_any", 1),
    ("kill_master", 3),
    ("kill_session", 3),
    ("restart_sshd", 1),
    ("stop_leader", 2),
    ("stop_holder", 1),
    ("stop_master", 2),
    ("stop_session", 1),
    ("stop_for_long", 2),
    ("go_on", 3),
    ("drop", 3),
    ("cut_reply", 6),
    ("spoil_record", 2),
    ("hole", 2),
    ("shut", 1),
    ("delay", 2),
    ("mend", 4),
)
_CONTROLLER = (
    ("kill_controller", 4),
    ("stop_controller", 5),
    ("start_controller", 4),
    ("cut_sbatch", 8),
)
_DISKS = (("fill_host", 2), ("fill_home", 2), ("free", 3))


def draw(seed: int, launcher: str = "process") -> Plan:
    """Return the plan of a seed."""
    rng = random.Random(seed)
    options: dict[str, Any] = {"MaxSessions": rng.choice((10, 10, 1, 2))}
    options["MaxStartups"] = rng.choice(("10:30:100", "10:30:100", "1", "2:50:4"))
    small = rng.random() < 0.25 and launcher == "process"
    faults = _FAULTS + (_DISKS if small else ())
    faults += _CONTROLLER if launcher == "slurm" else ()
    patient = rng.random() < 0.1
    steps = []
    for _ in range(rng.randint(8, 26)):
        table = _VERBS if rng.random() < 0.6 else faults
        names, weights = zip(*table)
        pause = rng.choice((0.0, 0.0, rng.uniform(0, 0.15), rng.uniform(0, 0.6)))
        (name,) = rng.choices(names, weights)
        steps.append(Step(pause, name, int(rng.random() < 0.3), rng.getrandbits(32)))
    after = random.Random(f"after {seed}")  # leaves the rest as it was
    for _ in range(after.choice((0, 0, 1, 3)) if launcher == "process" else 0):
        step = Step(0.0, "submit_after", after.randrange(2), after.getrandbits(32))
        steps.insert(after.randint(len(steps) // 3, len(steps)), step)
    mux = rng.choice(("auto", "auto", "auto", "ssh"))
    hasty = rng.random() < 0.3
    limits = (0, 0, 1, 2, 4) if launcher == "process" else (0,)
    limit = random.Random(f"limit {seed}").choice(limits)  # leaves the rest as it was
    return Plan(seed, options, small, mux, steps, patient, hasty, limit)


class Doing:
    """A plan while it is done.

    Attributes:
        works: What was asked for, by tag.
        killed: Ids and tags that somebody may have cancelled.
        leaks: Command lines in which a secret was seen.
        after: By the tag of a job the one before it, on another site, and how that is
            to end.
    """

    def __init__(self, plan: Plan, world: World) -> None:
        self.plan = plan
        self.world = world
        self.works: dict[str, Work] = {}
        self.killed: set[str] = set()
        self.leaks: list[str] = []
        self.after: dict[str, tuple[str, str]] = {}
        self._rng = random.Random(0)
        for home in world.homes:
            home.cli.env |= {"SSHJOBS_MUX": plan.mux} | (HASTE if plan.hasty else {})
            if plan.limit:
                home.cli.env["SSHJOBS_MAX_RUNNING"] = str(plan.limit)
        keys = random.Random(plan.seed)
        self._keyed = {f"k{n}": self._draw(keys, f"key{n}") for n in range(3)}

    def __repr__(self) -> str:
        return f"<Doing seed {self.plan.seed}>"

    def do(self, say: Callable[[str], None]) -> None:
        """Do every step, then take every fault back."""
        for step in self.plan.steps:
            time.sleep(step.pause)
            self._rng = random.Random(step.rng)
            home = self.world.homes[step.home]
            result = getattr(self, f"_{step.name}")(home)
            say(f"{step.name} {home.name} {result if result is not None else ''}")
            self.leaks += self.world.secrets()
        self.world.heal()
        for home in self.world.homes:
            home.cli.env |= SETTINGS

    def _draw(self, rng: random.Random, tag: str) -> Work:
        shape = rng.choice(_SHAPES)
        if rng.random() < 0.1 and not self.plan.small:
            shape = _LONG
        work = Work(tag, shape[0], shape[1], rng.choice((0, 0, 0, 3)))
        self.works[tag] = work
        return work

    def _new(self) -> Work:
        return self._draw(self._rng, f"job{len(self.works)}")

    # -- verbs -------------------------------------------------------------------

    def _flags(self) -> list[str]:
        flags = ["--env-from", "SECRET"] if self._rng.random() < 0.3 else []
        if self._rng.random() < 0.2:
            flags += ["--cleanup", self._rng.choice(("always", "on_success"))]
        return flags

    def _line(self, work: Work) -> str:
        return work.command(self.world.ran, self.world.over)

    def _submit(self, home: Home) -> Command:
        line = self._line(self._new())
        return home.start("submit", home.cli.host, *self._flags(), "--", line)

    def _submit_key(self, home: Home) -> Command:
        key = self._rng.choice(sorted(self._keyed))
        line = self._line(self._keyed[key])
        return home.start("submit", home.cli.host, "--key", key, "--", line)

    def _submit_from(self, home: Home) -> Command:
        works = [self._new() for _ in range(self._rng.randint(2, 20))]
        text = "".join(f"{self._line(work)}\n" for work in works)
        flags = self._flags()
        words = ("submit", home.cli.host, *flags, "--from", "-")
        return home.start(*words, stdin=text.encode())

    def _submit_after(self, home: Home) -> Command | None:
        """Submit a job to another site, after one that is known, which may wait too."""
        ids = home.ids()
        if not ids:
            return None
        work, word = self._new(), (
            self._rng.choice(ids),
            self._rng.choice(("ok", "any")),
        )
        self.after[work.tag] = word
        words = ("submit", home.cli.host, "--after", ":".join(word), "--")
        return home.start(*words, self._line(work), base=self.world.other)

    def _run(self, home: Home) -> Command:
        line = self._line(self._new())
        return home.start("run", home.cli.host, *self._flags(), "--json", "--", line)

    def _run_key(self, home: Home) -> Command:
        key = self._rng.choice(sorted(self._keyed))
        line = self._line(self._keyed[key])
        return home.start("run", home.cli.host, "--json", "--key", key, "--", line)

    def _duel(self, home: Home) -> list[Command]:
        """Have both machines want the same key, a new one; the second one is deaf.

        It has claimed nothing, so that what it hears of the key's holder, and of its
        end, are frames that follow each other: the cut is among them.
        """
        work = self._draw(self._rng, f"key{len(self.works)}")
        homes = list(self.world.homes)
        self._rng.shuffle(homes)
        commands = []
        for one in homes:
            verb = self._rng.choice(("submit", "submit", "run"))
            words = (verb, one.cli.host, "--key", work.tag, "--", self._line(work))
            commands.append(one.start(*words))
            time.sleep(self._rng.choice((0.0, 0.1, 0.4, 1.5, 2.5)))
            if one is homes[0]:
                how = self._rng.choice(("end", "kill"))
                self.world.cut(self._rng.randrange(60, 400), how)
        return commands

    def _poll(self, home: Home) -> Command:
        return home.start("poll", "--json")

    def _wait(self, home: Home) -> Command:
        return home.start("wait", "--json", "--timeout", "6")

    def _logs(self, home: Home) -> Command | None:
        ids = home.ids()
        if not ids:
            return None
        flags = ["--follow"] if self._rng.random() < 0.5 else []
        return home.start("logs", self._rng.choice(ids), *flags)

    def _kill(self, home: Home) -> Command | None:
        ids = home.ids()
        if not ids:
            return None
        job_id = self._rng.choice(ids)
        self.killed.add(job_id)
        return home.start("kill", job_id, "--json")

    def _reap(self, home: Home) -> Command:
        self.world.plant()
        flags = ["--orphans"] if self._rng.random() < 0.2 else []
        return home.start("reap", *flags, "--json")

    def _disconnect(self, home: Home) -> Command:
        return home.start("disconnect", home.cli.host)

    # -- faults ------------------------------------------------------------------

    def _strike(self, command: Command | None, number: int) -> Command | None:
        if command is not None:
            command.hit(number)
            if number != signal.SIGKILL and command.words[0] == "run":
                self.killed.add(command.words[-1].split(";")[0][2:])
        return command

    def _leader(self, home: Home) -> Command | None:
        """Return a command that leads now, or the last one; wait a little for it."""
        end = time.monotonic() + self._rng.choice((0.0, 0.3, 0.6))
        while time.monotonic() < end and home.command_of(home.leader()) is None:
            time.sleep(0.005)
        time.sleep(self._rng.choice((0.0, self._rng.uniform(0.0, 0.1))))
        return home.command_of(home.leader())

    def _kill_leader(self, home: Home) -> Command | None:
        return self._strike(self._leader(home), signal.SIGKILL)

    def _any(self, home: Home) -> Command | None:
        alive = [command for command in home.commands if command.alive]
        return self._rng.choice(alive) if alive else None

    def _kill_any(self, home: Home) -> Command | None:
        return self._strike(self._any(home), signal.SIGKILL)

    def _term_any(self, home: Home) -> Command | None:
        number = self._rng.choice((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        return self._strike(self._any(home), number)

    def _kill_master(self, home: Home) -> list[int]:
        pids = home.masters()
        for pid in pids:
            signal_to(pid, signal.SIGKILL)
        return pids

    def _kill_session(self, home: Home) -> list[int]:
        pids = self.world.sshd.session_pids()
        for pid in pids:
            signal_to(pid, signal.SIGKILL)
        return pids

    def _restart_sshd(self, home: Home) -> None:
        self._kill_session(home)
        self.world.sshd.stop()
        time.sleep(self._rng.uniform(0, 0.5))
        self.world.sshd.start()

    def _stop_leader(self, home: Home) -> Command | None:
        command = self._leader(home)
        if command is not None:
            self.world.stop(command.process.pid)
        return command

    def _stop_holder(self, home: Home) -> Command | None:
        command = home.command_of(home.holder())
        if command is not None:
            self.world.stop(command.process.pid)
        return command

    def _stop_for_long(self, home: Home) -> str:
        """Stop who leads, or makes a connection, until it counts as stopped."""
        pid, locks = self._stop_locked(home)
        if not pid:
            return "nobody"
        home.overtaken |= any(path.name.startswith("gate.") for path in locks)
        if self.plan.patient:
            time.sleep(STALE + 1.5)
        else:
            home.age(locks)
        time.sleep(self._rng.choice((0.0, 0.3, 0.8)))
        if self._rng.random() < 0.5:
            self.world.go_on(pid)
        return f"{pid} with {[path.name for path in locks]}"

    def _stop_locked(self, home: Home) -> tuple[int, list[Path]]:
        """Stop a process of ours while it holds a lock, if there soon is one."""
        end = time.monotonic() + self._rng.choice((0.1, 0.6, 1.2))
        while time.monotonic() < end:
            time.sleep(self._rng.uniform(0.0, 0.05))
            for pid in {home.leader(), home.holder()}:
                if home.command_of(pid) and not self.world.is_stopped(pid):
                    self.world.stop(pid)
                    locks = home.locks_of(pid)
                    if locks:
                        return pid, locks
                    self.world.go_on(pid)
        return 0, []

    def _stop_master(self, home: Home) -> list[int]:
        pids = home.masters()
        for pid in pids:
            self.world.stop(pid)
        return pids

    def _stop_session(self, home: Home) -> list[int]:
        pids = self.world.sshd.session_pids()
        for pid in pids:
            self.world.stop(pid)
        return pids

    def _go_on(self, home: Home) -> None:
        self.world.go_on()

    def _drop(self, home: Home) -> None:
        home.relay.drop()

    def _cut_reply(self, home: Home) -> str:
        """Cut the next reply at any byte: of its frames, or of the log after them."""
        most = self._rng.choice((60, 250, 250, 600, 2000, 50_000))
        count = self._rng.randrange(most)
        how = self._rng.choice(("end", "kill"))
        self.world.cut(count, how)
        return f"after {count}, {how}"

    def _spoil_record(self, home: Home) -> str:
        """Do what a job can do to its own record, or a bad disk to any."""
        jobs = sorted(self.world.base.glob("jobs/[a-z2-7]*/run"))
        if not jobs or self._rng.random() < 0.2:
            journals = sorted(self.world.base.glob("*/journal"))
            for path in journals:
                self.world.spoil(path, self._deed())
            return f"{len(journals)} journals"
        path = self._rng.choice(jobs)
        if (path.parent / "exit").exists() and self._rng.random() < 0.5:
            path = path.parent / "exit"
        self.world.spoil(path, self._deed())
        return str(path)

    def _deed(self) -> Callable[[bytes], bytes]:
        line = self._rng.choice(
            (
                b"node=%FF\xff\n",
                b"start=%FF\n",
                b"reason=\x1b]0;x\x07\n",
                b"log_bytes=" + b"9" * 30 + b"\n",
                b"x" * 70_000 + b"\n",
                b"\nE aaaaaaaaaaaaaaaa .\n",
            )
        )
        return self._rng.choice((lambda _: b"", lambda d: line + d, lambda d: d + line))

    def _hole(self, home: Home) -> None:
        home.relay.hole = True

    def _shut(self, home: Home) -> None:
        home.relay.shut = True

    def _delay(self, home: Home) -> None:
        home.relay.delay = self._rng.uniform(0.02, 0.4)

    def _mend(self, home: Home) -> None:
        if home.relay.ill:  # 4 s: longer than ssh waits for a sign of the host
            time.sleep(self._rng.choice((0.3, 0.6, 1.2, 4.0)))
        home.relay.heal()

    def _kill_controller(self, home: Home) -> None:
        """Have the controller forget what it has not yet written down."""
        self.world.scheduler.kill_controller()
        self.world.crashed = True
        if self._rng.random() < 0.6:
            self.world.scheduler.start_controller()

    def _stop_controller(self, home: Home) -> float:
        pause = self._rng.uniform(0.2, 5.0)
        self.world.scheduler.signal("slurmctld", signal.SIGSTOP)
        time.sleep(pause)
        if self._rng.random() < 0.6:
            self.world.scheduler.signal("slurmctld", signal.SIGCONT)
        return pause

    def _start_controller(self, home: Home) -> None:
        self.world.scheduler.heal_controller()

    def _cut_sbatch(self, home: Home) -> str:
        """Lose the answer of the next sbatch from some byte on, or its status too."""
        status = self._rng.choice((0, 1, 137))
        return self.world.cut_sbatch(self._rng.randrange(4), status)

    def _fill_host(self, home: Home) -> None:
        self.world.fill(self.world.disks[0])

    def _fill_home(self, home: Home) -> None:
        self.world.fill(self.world.disks[1])

    def _free(self, home: Home) -> None:
        self.world.free()
