"""A host, and the jobs that one gives it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, overload

from ..errors import SomeNotStarted, SpecError, SshJobsError
from ..host_names import check_host
from ..model import Job as Row
from ..scheduling.pools import expand_pools, is_pool
from ..verbs.context import Context
from ..verbs.submit import JobRequest, Submitted, submit_each_job
from .crowd import Texts, find
from .files import HostFiles
from .job import Completed, Job, run_or_kill
from .pool import find_pool
from .words import (
    Command,
    Word,
    build_job_request,
    read_for_target,
    read_items,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .words import JobOptions


class Host(HostFiles):
    """A host that you reach with ``ssh``, and the jobs that you give it.

    No connection is made until it is needed; then it is the one that all processes of
    this user on this machine share. It may be used from several threads at once.
    ``with`` closes the files that this process has open; jobs and the connection,
    which others may use, go on.

    Args:
        name: The host as after ``ssh``; ``local`` is this machine, ``pool:NAME`` a pool
            of the config file, which takes jobs and has no files.
        settings: Any setting (docs/reference/settings.md), as of a flag of the command
            line: ``Host("gpu1", wait_host=300, ssh_config="~/.ssh/lab")``.

    Raises:
        SpecError: it is no name of a host or pool, or a setting is wrong.

    >>> with Host("gpu1") as host:
    ...     jobs = host.submit_all(f"echo part {n}" for n in range(3))
    ...     for job in jobs:
    ...         print(job.wait().log(text=True), end="")
    part 0
    part 1
    part 2
    """

    def __init__(self, name: str, **settings: str | float | bool | None) -> None:
        if not isinstance(name, str):
            raise SpecError(f"a host is a str, not a {type(name).__name__}")
        if not is_pool(name):
            check_host(name)
        self.name = name
        self._pool = find_pool(settings)
        with self._pool.borrow() as ctx:
            expand_pools(ctx.config, [name])

    def __repr__(self) -> str:
        return f"<Host {self.name}>"

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files that this process has open; the next call opens them anew."""
        self._pool.close()

    def submit(
        self,
        command: Command,
        *,
        name: str | None = None,
        key: str | None = None,
        once: bool = False,
        env: Mapping[str, Word] | None = None,
        cwd: Word | None = None,
        timeout: float | str | timedelta | None = None,
        shell: str | None = None,
        login: bool = False,
        stdin: Word | None = None,
        cleanup: str | None = None,
        max_log_bytes: int | None = None,
        launcher: str | None = None,
        launcher_args: str | list[str] | None = None,
        group: str | None = None,
        priority: int | None = None,
        split: bool = False,
        wait_room: bool = False,
        after: Iterable[object] | None = None,
    ) -> Job:
        """Start a job, exactly once, and return it once it has started.

        Args:
            command: A str or bytes is a line for the login shell; a list is an argument
                vector, which no shell reads; a path is a program, relative to ``cwd``.
            name, key: For people; of the work: its active or COMPLETED job is given.
            once: With ``key``: no new attempt after one that ended badly either.
            env: Environment variables; their values stay out of every argument list.
            cwd: The directory, ``~`` is the login directory.
            timeout: Seconds, a text as ``"6h"``, or a timedelta; the host keeps it.
            shell, login: The shell of a line; whether it reads the files of a login.
            stdin: Standard input: a str or bytes as it is, of a path the file's bytes.
            cleanup, max_log_bytes: As the settings of these names; None: these.
            launcher, launcher_args: As the setting ``launcher``, and options for that.
            group, priority: Jobs of a group share a limit; the highest begins first.
            split: Have its standard error in a log of its own: ``log(stderr=True)``.
            wait_room: Wait where a scheduler takes no more jobs of its user.
            after: Jobs that are to be COMPLETED first, or ``"ID:any"``.

        Raises:
            SpecError: something of it is wrong; nothing was done.
            HostUnreachable: nothing ran, nothing will.
            NotYet: sent and not answered; the next call asks the host for ``job_ids``.

        >>> job = Host("gpu1").submit(["echo", "it's", "$HOME"], key="greeting")
        """
        return self._start(command, locals())

    def submit_all(self, commands: Iterable[Command | Mapping[str, Any]]) -> list[Job]:
        """Start any number of jobs in a few sessions, and return them in order.

        Either all are written down or none: the host is asked after the last item was
        read and found right. Items are read one by one and not kept, so that an
        iterator may make any number of them.

        Args:
            commands: For each job a command, or a mapping with ``command`` and
                arguments of :meth:`submit`.

        Raises:
            SpecError: an item is wrong; nothing was done.
            SomeNotStarted: the host has refused some; ``jobs`` has the others.
            HostUnreachable, NotYet: as of :meth:`submit`, for all of them.

        >>> jobs = Host("gpu1").submit_all(
        ...     {"command": ["echo", str(n)], "key": f"count/{n}"} for n in range(100)
        ... )
        >>> len(jobs), jobs[41].wait().log()
        (100, b'41\\n')
        """
        if isinstance(commands, (str, bytes, Mapping)):
            raise SpecError("submit_all takes an iterable of commands, not one command")
        started: list[Job | None] = []
        refused: dict[int, SshJobsError] = {}
        with self._pool.borrow() as ctx:
            requests = read_items(ctx.settings, self.name, commands)
            for place, done in enumerate(_submit_each(ctx, self.name, requests)):
                if done.error is not None:
                    refused[place] = done.error
                started.append(self._make_job(done))
        if refused:
            raise SomeNotStarted(self.name, tuple(started), refused)
        return [job for job in started if job is not None]

    @overload
    def run(
        self,
        command: Command,
        *,
        check: bool = False,
        text: Literal[False] = False,
        stdout: BinaryIO | None = None,
        **options: Unpack[JobOptions],
    ) -> Completed[bytes]: ...

    @overload
    def run(
        self,
        command: Command,
        *,
        check: bool = False,
        text: Literal[True],
        stdout: BinaryIO | None = None,
        **options: Unpack[JobOptions],
    ) -> Completed[str]: ...

    def run(
        self,
        command: Command,
        *,
        check: bool = False,
        text: bool = False,
        stdout: BinaryIO | None = None,
        name: str | None = None,
        key: str | None = None,
        once: bool = False,
        env: Mapping[str, Word] | None = None,
        cwd: Word | None = None,
        timeout: float | str | timedelta | None = None,
        shell: str | None = None,
        login: bool = False,
        stdin: Word | None = None,
        cleanup: str | None = None,
        max_log_bytes: int | None = None,
        launcher: str | None = None,
        launcher_args: str | list[str] | None = None,
        group: str | None = None,
        priority: int | None = None,
        split: bool = False,
        wait_room: bool = False,
        after: Iterable[object] | None = None,
    ) -> Completed[bytes] | Completed[str]:
        """Run a job to its end, as ``subprocess.run`` does a command.

        If the call ends early (Ctrl-C, an error of ``stdout``), the job is killed.

        Args:
            check: Raise JobFailed unless the job is COMPLETED.
            text, stdout: Have ``Completed.stdout`` be a str; a file that takes the log.
            name: This argument and all that follow are those of :meth:`submit`.

        Raises:
            JobFailed: with ``check``; its ``returncode`` is the job's.
            NotYet: the host cannot be asked any more; ``job_ids`` names the job.

        >>> Host("gpu1").run(["uname"], check=True, text=True).stdout
        'Linux\\n'
        """
        from ..verbs.run import exit_status_of

        job = self._start(command, locals(), follow=True)
        row = run_or_kill(job, stdout)
        if check:
            job.check()
        done: Completed[Any] = Completed(command, job, exit_status_of(row), text)
        return done

    def find(
        self,
        *jobs: str,
        name: Texts = (),
        key: Texts = (),
        state: Texts = (),
        since: str = "",
    ) -> list[Job]:
        """Return jobs of this host; see :func:`sshjobs.find`."""
        return find(*jobs, host=self.name, name=name, key=key, state=state, since=since)

    def _start(
        self, command: Command, given: Mapping[str, Any], *, follow: bool = False
    ) -> Job:
        with self._pool.borrow() as ctx:
            request = read_for_target(
                ctx.settings, self.name, build_job_request, command, given
            )
            [done] = _submit_each(ctx, self.name, [request], follow)
        if done.error is not None:
            raise done.error
        job = self._make_job(done)
        assert job is not None
        return job

    def _make_job(self, done: Submitted) -> Job | None:
        row: Row | None = done.job
        if row is None:
            return None
        if done.differs:
            warnings.warn(
                f"key {row.key}: job {row.id} holds it, with another command",
                stacklevel=4,
            )
        return Job(self._pool, row)


def _submit_each(
    ctx: Context, target: str, requests: Iterable[JobRequest], follow: bool = False
) -> Iterator[Submitted]:
    """Start jobs on a host or a pool."""
    if is_pool(target):
        from ..verbs.pools import submit_each_job_to_pool

        return submit_each_job_to_pool(ctx, target, requests, follow=follow)
    return submit_each_job(ctx, target, requests, follow=follow)
