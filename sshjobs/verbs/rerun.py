"""Running ended jobs again, as this machine's record has them.

Theory of operation: a job that runs again has a key, its own or ``rerun/`` and its id.
So the claim of keys on the host holds: while the new job is active or COMPLETED it is
the one, and nothing runs; once that has ended badly there is a new attempt. A record
has a command as text, with the digest of the whole or a mark that the text is the
whole: only what gives the same is what had run, and anything else is refused.
"""

from __future__ import annotations

import os
import shlex

from .. import states
from ..errors import SpecError, SshJobsError, StoreError
from ..model import LIMIT, LINE, RECORDED, VECTOR, Job, Spec
from ..quoting import join_words
from ..startup.contexts import closing
from ..startup.records import TYPE_CHECKING, Record
from .context import Context
from .fanout import work_side_by_side
from .selection import Criteria, select_recorded_jobs
from .submit import JobRequest, submit_each_job

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .submit import Submitted

#: The beginning of the key of a job that runs again and had none.
PREFIX = "rerun/"

#: Names of jobs without one are the beginnings of their commands, up to this length.
_NAME_LENGTH = 60


class Rerun(Record):
    """A job that is to run again, and the outcome of that."""

    job: Job
    done: Submitted


def choose_jobs_to_rerun(ctx: Context, criteria: Criteria, every: bool) -> list[Job]:
    """Return the jobs that are meant and are to run again, oldest first.

    Of the attempts of a key, and of a job and those that ran in its place, the newest
    counts; it is to run again if it has ended badly.

    Args:
        every: Those too that are COMPLETED; a key of their own holds, nevertheless.

    Raises:
        JobNotFound, NothingSelected, SpecError: see :func:`.selection.select_jobs`.
    """
    newest: dict[tuple[str, str], Job] = {}
    for job in select_recorded_jobs(ctx, criteria):
        key = job.site_id, job.key or PREFIX + job.id
        for other in ctx.store.jobs.find_by_key(key[1]):  # newest attempt first
            if other.site_id == job.site_id:
                job = other
                break
        newest[key] = job
    wanted = [states.COMPLETED] if every else []
    wanted += [state for state in states.FINAL if state != states.COMPLETED]
    return [job for job in newest.values() if job.state in wanted]


def rerun_jobs(
    ctx: Context, jobs: list[Job], env: Mapping[str, bytes]
) -> Iterator[Rerun | SshJobsError]:
    """Run jobs again on their hosts, side by side.

    Args:
        env: Values of variables that jobs had; the record has none.

    Yields:
        A job and its outcome, or why one of the hosts could not be asked.

    Raises:
        SpecError: one of them cannot be made again; nothing was done.
    """
    by_site: dict[str, list[tuple[Job, JobRequest]]] = {}
    for job in jobs:
        some = by_site.setdefault(job.site_id, [])
        settings = ctx.settings(job.host)
        request = build_request(job, env, settings.kill_grace)
        if settings.max_running or job.launcher == LIMIT:
            request = _build_turn_again(job, request)
        some.append((job, request))

    def submit_there(own: Context, site_id: str) -> list[Submitted]:
        host = by_site[site_id][0][0].host
        requests = [request for _, request in by_site[site_id]]
        with closing(_open_at_site(own, site_id)) as there:
            return list(submit_each_job(there, host, requests))

    for site_id, results in work_side_by_side(ctx, by_site, submit_there):
        if isinstance(results, SshJobsError):
            yield results
            continue
        for (job, _), done in zip(by_site[site_id], results):
            yield Rerun(job, done)


def build_request(job: Job, env: Mapping[str, bytes], grace: float) -> JobRequest:
    """Return the request that runs a job again.

    Raises:
        SpecError: the record has not all of it: values of variables, an input, the
            options of a scheduler.
    """
    names = job.env_names.split()
    missing = [name for name in names if name not in env]
    if missing:
        flags = " ".join(f"--env-from {name}" for name in missing)
        raise SpecError(
            f"{job.id}: values of variables are not in the record. Give them again:\n"
            f"sshjobs rerun {job.id} {flags}"
        )
    if job.launcher not in ("", LIMIT):
        raise SpecError(
            f"{job.id}: the options for {job.launcher} are not in the record: "
            "submit it again"
        )
    values = tuple((name, env[name]) for name in names)
    for command in _yield_commands(job.command):
        spec = Spec(command, values, job.cwd, job.timeout, job.shell, None, grace)
        spec = spec._replace(split=job.stderr_bytes is not None)
        marks = (LINE, RECORDED) if isinstance(command, bytes) else (VECTOR,)
        if job.digest in (*marks, spec.digest()):
            first = job.command.strip().partition("\n")[0][:_NAME_LENGTH]
            return JobRequest(
                spec,
                name=job.name or ("" if job.key else first),
                key=job.key or PREFIX + job.id,
                cleanup=job.cleanup,
                max_log_bytes=job.max_log_bytes,
            )
    raise SpecError(
        f"{job.id}: the record does not have all of this job: it has standard input "
        "(--stdin) or a very long command, or is of an older sshjobs; submit it again"
    )


def _build_turn_again(job: Job, request: JobRequest) -> JobRequest:
    """Return a request that waits its turn, in the group of the job if that is known.

    The handle names the group of a job that had to wait; jobs that come before it, and
    its priority, are not in the record.
    """
    from .turns import build_turn

    parts = job.handle.split(":")
    group = parts[2].strip("-") if len(parts) == 3 else ""
    return request._replace(spec=build_turn(request.spec, {"group": group}))


def _yield_commands(text: str) -> Iterator[bytes | tuple[bytes, ...]]:
    """Yield what a recorded command may have been: a shell line, words."""
    yield text.encode("utf-8", "surrogateescape")
    try:
        words = shlex.split(text)
    except ValueError:
        return
    if words:
        yield tuple(os.fsencode(word) for word in words)


def _open_at_site(ctx: Context, site_id: str) -> Context:
    """Return a context in which the name of a host leads to a connection as before."""
    from ..transports import Identity

    row = ctx.store.sites.find_site(site_id)
    if row is None:
        raise StoreError(f"{ctx.store.path}: no such connection: {site_id}")
    flags = dict(ctx.flags) | {"remote_base_dir": row.base}
    if row.host != "local" and row.identity:
        identity = Identity.from_bytes(row.identity)
        if identity.options:
            flags["ssh_options"] = join_words(identity.options)
        if identity.config:
            flags["ssh_config"] = identity.config
    made = Context(ctx.environ, ctx.config, flags)
    made.interrupt, made.contacts = ctx.interrupt, ctx.contacts
    made.sent_ids, made.say = ctx.sent_ids, ctx.say
    return made
