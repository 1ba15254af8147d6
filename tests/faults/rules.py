"""What must never happen, looked for after a schedule."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.schedule import Doing, Work
from tests.faults.world import SECRET, Command, Home, objects

FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "LOST")

#: Every command ends within this many seconds of the end of all faults.
BOUND = 100.0


class Verdict:
    """The rules, looked at one after the other.

    Attributes:
        broken: A line for each breach.
    """

    def __init__(self, doing: Doing) -> None:
        self._doing = doing
        self._world = doing.world
        self.broken: list[str] = []
        self._seen: dict[str, set[str]] = {}
        self._logs: dict[str, bytes] = {}
        self._jobs: dict[str, dict[str, Any]] = {}

    def __repr__(self) -> str:
        return f"<Verdict {len(self.broken)} breaches>"

    def _break(self, rule: str, text: str) -> None:
        self.broken.append(f"{rule}: {text}")

    def look(self) -> list[str]:
        """Look at everything; return the breaches."""
        self._everything_ends()
        if self.broken:
            return self.broken
        for home in self._world.homes:
            for command in home.commands:
                self._ended_well(command)
        for home in self._world.homes:
            self._settle(home)
        for home in self._world.homes:
            self._read(home)
        self._nothing_ran_twice()
        self._nothing_is_forgotten()
        self._ends_are_right()
        self._outputs_are_right()
        self._no_secret()
        for home in self._world.homes:
            self._nothing_is_left(home)
        self._nothing_on_the_host()
        return self.broken

    # -- commands ----------------------------------------------------------------

    def _everything_ends(self) -> None:
        until = time.monotonic() + BOUND
        for home in self._world.homes:
            for command in home.commands:
                if not command.wait(until):
                    self._break("9 a command hangs", f"{command!r} {command.ended!r}")

    def _ended_well(self, command: Command, *, healed: bool = False) -> None:
        ended = command.ended
        text = f"{command!r} {ended.status} {ended.err[-1500:]!r}"
        if "KeyboardInterrupt" in ended.err and command.blow == signal.SIGINT:
            return  # before our first line
        if "Traceback" in ended.err:
            self._break("10 a traceback", text)
            return
        full = any(disk.name == command.home.name for disk in self._world.was_full)
        fine = {0, 1, 3, 69, 75} | ({70} if full else set())
        if command.words[0] == "run":
            fine |= {143, 141}
        if command.blow:
            fine |= {-command.blow, 128 + command.blow, 143}
        if "no such job in this machine's record" in ended.err:
            fine.add(64)  # it was never accepted, and is not known any more
        if healed:
            fine = {0, 1}
        if ended.status not in fine:
            self._break("10 an odd exit status", text)

    def _settle(self, home: Home) -> None:
        """Have everything come to its end, and home."""
        for words in (("poll", "--json"), ("wait", "--json", "--timeout", "60")):
            self._ended_well(home.run(*words), healed=True)
        self._ended_well(home.run("list", "--json"), healed=True)
        for row in home.rows("SELECT id, state, command FROM jobs"):
            if row[1] not in FINAL:
                self._break("2 not ended after all", f"{home.name} {row}")
        for words in (("reap", "--json"), ("list", "--json")):
            self._ended_well(home.run(*words), healed=True)

    # -- what is known now -------------------------------------------------------

    def _read(self, home: Home) -> None:
        for command in home.commands:
            for job in objects(command.ended.out) + objects(command.ended.err):
                if "state" in job and "id" in job:
                    self._seen.setdefault(job["id"], set()).add(job["state"])
        names = (
            "id state exit_status command log_bytes log_home log_final reaped_at key"
        )
        for row in home.rows(f"SELECT {names.replace(' ', ',')} FROM jobs"):
            job = dict(zip(names.split(), row)) | {"home": home.name}
            known = self._jobs.get(job["id"])
            if known is None or len(job["command"]) > len(known["command"]):
                self._jobs[job["id"]] = job
            self._read_log(home, job)

    def _read_log(self, home: Home, job: dict[str, Any]) -> None:
        path = home.box.home / "logs" / job["id"]
        log = path.read_bytes() if path.exists() else b""
        if job["log_home"] != len(log):
            text = f"{home.name} {job} has {len(log)} bytes"
            if job["log_home"] > len(log):
                self._break("3 the record promises bytes that are not here", text)
            log = log[: job["log_home"]]
        if len(log) >= len(self._logs.get(job["id"], b"")):
            self._logs[job["id"]] = log

    # -- the rules ---------------------------------------------------------------

    def _runs(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self._world.ran.iterdir()}

    def _nothing_ran_twice(self) -> None:
        keyed: dict[str, list[str]] = {}
        for job_id, text in self._runs().items():
            tags = text.split()
            if len(tags) != 1:
                self._break("1 a job ran twice", f"{job_id} {tags}")
            keyed.setdefault(tags[0], []).append(job_id)
        for tag, ids in keyed.items():
            states = [self._jobs.get(job_id, {}).get("state", "?") for job_id in ids]
            if not tag.startswith("key") and len(ids) > 1:
                self._break("1 an order ran twice", f"{tag} {ids} {states}")
            if states.count("COMPLETED") > 1:
                self._break("1 a key was completed twice", f"{tag} {ids} {states}")

    def _nothing_is_forgotten(self) -> None:
        for job_id, text in self._runs().items():
            if job_id not in self._jobs:
                self._break("2 it ran and nobody knows it", f"{job_id} {text!r}")
        for home in self._world.homes:
            known = set(home.ids())
            for command in home.commands:
                for job_id in _promised(command):
                    if job_id not in known:
                        self._break(
                            "2 a promised job is unknown", f"{command!r} {job_id}"
                        )

    def _work(self, job: dict[str, Any]) -> Work | None:
        found = re.match(r": (\w+);", job["command"])
        return self._doing.works.get(found[1]) if found else None

    def _cancelled(self, job: dict[str, Any], work: Work) -> bool:
        return bool({job["id"], work.tag} & self._doing.killed)

    def _ends_are_right(self) -> None:
        runs = self._runs()
        for job_id, job in self._jobs.items():
            finals = {s for s in self._seen.get(job_id, ()) if s in FINAL}
            if finals - {job["state"]}:
                self._break("5 a final state changed", f"{job} was {finals}")
            work = self._work(job)
            if work is None:
                self._break("2 a record without its command", f"{job}")
                continue
            self._end_is_right(job, work, job_id in runs)

    def _end_is_right(self, job: dict[str, Any], work: Work, ran: bool) -> None:
        expected = {"COMPLETED"} if work.status == 0 else {"FAILED"}
        if self._cancelled(job, work):
            expected.add("CANCELLED")
        if self._host_was_full:  # its own record of itself may have failed
            expected.add("FAILED")
        elif not ran and job["state"] != "CANCELLED":
            self._break("4 it ended and never ran", f"{job}")
        if job["state"] not in expected:
            self._break("4 a wrong end", f"{job} expected {expected}")
        self._log_is_right(job, work)

    def _log_is_right(self, job: dict[str, Any], work: Work) -> None:
        log = self._logs.get(job["id"], b"")
        if job["state"] == "CANCELLED":  # its shell may have said what it died of
            log = re.sub(rb"[^\n]*(Terminated|Killed)[^\n]*\n?\Z", b"", log)
        whole = job["state"] != "CANCELLED" and not self._host_was_full
        if work.log != log if whole else not work.log.startswith(log):
            pairs = enumerate(zip(log, work.log))
            at = next((i for i, (one, other) in pairs if one != other), "the end")
            self._break(
                "3 a log is not what was written",
                f"{job} {len(log)} of {len(work.log)} bytes, differs at {at}",
            )
        if job["log_bytes"] != len(self._logs.get(job["id"], b"")):
            self._break("3 the log is not home", f"{job} has {len(log)}")

    @property
    def _host_was_full(self) -> bool:
        return any(disk.name == "host" for disk in self._world.was_full)

    def _outputs_are_right(self) -> None:
        if self._host_was_full:
            return
        for home in self._world.homes:
            for command in home.commands:
                if command.words[0] == "run":
                    tag = command.words[-1].split(";")[0][2:]
                    self._output(command, self._doing.works[tag])
                elif command.words[0] == "logs":
                    job = self._jobs.get(command.words[1])
                    work = self._work(job) if job else None
                    if work is not None:
                        self._output(command, work)

    def _output(self, command: Command, work: Work) -> None:
        out, want = command.ended.raw, work.log
        if not want.startswith(out):
            self._break("3 output differs", f"{command!r} {out[:300]!r}")
        if command.words[0] != "run" or command.blow:
            return  # who was told to end may have ended before the job did
        if command.ended.status == work.status:
            if out != want:
                self._break("3 output is not whole", f"{command!r} {len(out)}")

    def _no_secret(self) -> None:
        for line in self._doing.leaks:
            self._break("7 a secret in a command line", line[:300])
        places = [home.box.home for home in self._world.homes]
        places += [home.rundir for home in self._world.homes] + [self._world.base]
        for place in places:
            for path in place.rglob("*"):
                if path.is_file() and self._betrays(path):
                    self._break("7 a secret on a disk", str(path))

    def _betrays(self, path: Path) -> bool:
        """Tell whether the secret is in a file that is no order just written down."""
        fresh = path.parent.name == "specs" and path.name not in self._jobs
        return not fresh and SECRET.encode() in path.read_bytes()

    def _nothing_is_left(self, home: Home) -> None:
        if home.relay.most > 1:
            self._break("6 two connections at once", f"{home.name} {home.relay.most}")
        open_ = home.rows("SELECT * FROM intents WHERE done = 0")
        if open_:
            self._break("an intent is left", f"{home.name} {open_}")
        known = set(home.ids())
        specs = list((home.box.home / "specs").glob("*"))
        if any(command.blow for command in home.commands):
            specs = [p for p in specs if p.name in known]  # swept after ten minutes
        if specs:
            self._break("7 a spec is left", f"{home.name} {specs}")
        logs = {p.name for p in (home.box.home / "logs").glob("*")} - known
        if logs:
            self._break("a log without a job", f"{home.name} {logs}")
        self._ended_well(home.run("disconnect", home.box.host), healed=True)
        if home.masters():
            self._break("an ssh process is left", f"{home.name} {home.masters()}")
        for path in _left(home):
            self._break("a file is left", path)

    def _nothing_on_the_host(self) -> None:
        home = self._world.homes[0]
        self._ended_well(home.run("reap", "--orphans", "--json"), healed=True)
        self._ended_well(home.run("disconnect", home.box.host), healed=True)
        for path in self._world.base.glob("jobs/*"):
            names = sorted(p.name for p in path.iterdir())
            self._break("a directory is left on the host", f"{path.name} {names}")


def _left(home: Home) -> Iterator[str]:
    """Yield what is in the directory of sockets and is no lock file."""
    for path in home.rundir.rglob("*"):
        if path.is_dir() or path.name.startswith(("gate.", "hop.")):
            continue
        yield f"{home.name} {path.relative_to(home.rundir)}"


def _promised(command: Command) -> list[str]:
    """Return the ids that a command has given to its user."""
    ended = command.ended
    text = ""
    if command.words[0] == "submit":
        text = ended.out
    elif command.words[0] == "run":
        text = ended.err
    return re.findall(r"^[a-z2-7]{16}$", text, re.MULTILINE)
