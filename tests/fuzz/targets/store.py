"""A record that was damaged: by a disk, by a backup, by somebody else's hand."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from sshjobs.display.text import format_job_line
from sshjobs.errors import SshJobsError
from sshjobs.model import Job, Spec, new_job_id
from sshjobs.rounds.request import collect_request, expire
from sshjobs.store import Store
from sshjobs.transports.identity.identity import local_identity
from sshjobs.verbs.context import Context
from tests.fuzz import mutate
from tests.fuzz.engine import Broken, Case
from tests.fuzz.ground import Ground
from tests.fuzz.targets.reply import THEIRS

_ODD = (
    "NULL",
    "''",
    "-1",
    "1e999",
    "9223372036854775807",
    "x'ff00fe'",
    "'../../x'",
    "char(0)",
    "char(27) || '[31m'",
    "'x' || char(10) || 'y'",
    "zeroblob(70000)",
    "'COMPLETED'",
    "'NOSTATE'",
    "CAST(x'fffe' AS TEXT)",
    "3.5",
    "'12'",
)


class Stores:
    """Opens what is left of a record, and reads and asks all that a verb would."""

    name = "store"
    share = 2.0

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._home = ground.work / "store"
        self._template = ground.work / "store.template"
        self._fill()
        with closing(sqlite3.connect(self._template / "store.db")) as db:
            rows = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = sorted(name for (name,) in rows if not name.startswith("sqlite"))
            self._columns = [
                (table, column[1])
                for table in tables
                for column in db.execute(f"PRAGMA table_info({table})")
            ]

    def _fill(self) -> None:
        store = Store(str(self._template))
        identity = local_identity()
        ids = ["a" * 16, "b" * 16, "c" * 16, THEIRS]
        store.sites.ensure_site(identity.key, "local")
        store.sites.update_site(
            identity.key, identity=identity.to_bytes(), base="~/.sshjobs"
        )
        store.sites.save_identity("local\n\n\nauto", identity.to_bytes())
        states = ("PENDING", "RUNNING", "COMPLETED", "FAILED")
        jobs = [
            Job(i, "local", identity.key, s, key="k", command="x", submitted_at=5.0)
            for i, s in zip(ids, states)
        ]
        with store.begin_write():
            store.jobs.add_jobs(jobs)
            for kind, job_id in zip(("start", "kill", "log", "reap"), ids):
                store.intents.add_intents(identity.key, kind, [job_id])
        store.files.save_spec(ids[0], Spec(b"true", (("A", b"1"),), stdin=b"x"))
        Path(store.files.locate_log(ids[2])).write_bytes(b"a log\n")
        store.close()

    def make(self, rng: random.Random) -> Case:
        """Say what is done to which file: each piece is one deed."""
        deeds = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            kind = rng.random()
            if kind < 0.55:
                table, column = rng.choice(self._columns)
                deeds.append(f"sql UPDATE {table} SET {column} = {rng.choice(_ODD)}")
            elif kind < 0.75:
                deeds.append(f"bytes store.db {rng.getrandbits(32)}")
            elif kind < 0.82:
                deeds.append(f"cut store.db {rng.getrandbits(32)}")
            elif kind < 0.95:
                deeds.append(f"bytes specs/{'a' * 16} {rng.getrandbits(32)}")
            else:
                deeds.append(f"cut specs/{'a' * 16} {rng.getrandbits(32)}")
        return [deed.encode() for deed in deeds]

    def try_one(self, case: Case) -> None:
        """Do it, and use the record."""
        shutil.rmtree(self._home, ignore_errors=True)
        shutil.copytree(self._template, self._home)
        for deed in case:
            self._do(deed.decode("utf-8", "replace"))
        try:
            for look in (self._read, self._ask, self._show):
                try:
                    look()
                except SshJobsError as error:
                    # A command to copy has a line of its own.
                    if not str(error).replace("\nsshjobs ", " ").isprintable():
                        raise Broken(f"a control character: {error}") from error
        finally:
            self._ground.check()

    def _do(self, deed: str) -> None:
        kind, _, rest = deed.partition(" ")
        if kind == "sql":
            try:
                with closing(sqlite3.connect(self._home / "store.db")) as db, db:
                    db.execute(rest)
            except (sqlite3.Error, UnicodeDecodeError):
                return  # a smaller case, or a constraint
            return
        name, _, number = rest.partition(" ")
        rng = random.Random(number)
        path = self._home / name
        if kind in ("bytes", "cut") and path.is_file():
            spoil = mutate.cut if kind == "cut" else mutate.spoil
            path.write_bytes(spoil(rng, path.read_bytes()))

    def _context(self) -> Context:
        return Context({"SSHJOBS_HOME": str(self._home)}, {})

    def _read(self) -> None:
        store = Store(str(self._home))
        try:
            for job in store.jobs.iterate_jobs():
                job.public()
            store.jobs.find_by_key("k", "local")
            store.intents.list_open(local_identity().key)
            store.jobs.add_jobs([Job(new_job_id(), "local", "c", "PENDING")])
        finally:
            store.close()

    def _ask(self) -> None:
        ctx = self._context()
        try:
            with ctx.coordinator(
                "local"
            ) as coordinator, coordinator.store.begin_write():
                expire(coordinator.site, coordinator.clock())
                collect_request(coordinator.site, listing=True)
        finally:
            ctx.close()

    def _show(self) -> None:
        ctx = self._context()
        try:
            for job in ctx.store.jobs.iterate_jobs():
                text = format_job_line(job)
                if not text.isprintable():
                    raise Broken(f"a control character is shown: {text!r}")
        finally:
            ctx.close()
