"""Starting jobs: written into the store first, then run on the host exactly once."""

from __future__ import annotations

from .. import errors, states
from ..errors import NotYet, SshJobsError
from ..host_names import check_host
from ..model import (
    CLEANUP,
    LAUNCHERS,
    LINE,
    RECORDED,
    USUAL_GRACE,
    VECTOR,
    Job,
    Spec,
    check_spec,
    is_job_id,
    new_job_id,
)
from ..rounds import Coordinator
from ..rounds.needs import require_intents_served
from ..rounds.wish import RoundWish
from ..startup.records import TYPE_CHECKING, CheckedRecord, Record
from ..store import DIFFERS, FAILED, SAME, SERVED, Store, slices
from .context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from ..settings import Settings
    from .hold import BatchHolds


#: A record of a command longer than this is cut; the host has it whole.
_COMMAND_SHOWN = 4096


class JobRequest(CheckedRecord):
    """One job to submit: its command, and its name.

    A value of another type is a :class:`~sshjobs.errors.SpecError`.
    """

    spec: Spec
    name: str = ""
    key: str = ""
    once: bool = False
    cleanup: str | None = None  # None: the setting
    max_log_bytes: int | None = None  # None: the setting
    id: str = ""  # the id that it is to have, "" for a fresh one
    notify: str = ""  # a command to run here once its end is known
    #: Makes the same request with the settings of a host, once a pool has chosen it.
    for_host: Callable[[str], JobRequest] | None = None

    def check_types(self) -> None:
        """Refuse values of another type."""
        texts = {"name": self.name, "key": self.key, "id": self.id}
        texts["notify"] = self.notify
        for name, value in texts.items():
            if not isinstance(value, str):
                raise errors.SpecError(f"{name} is a str, not a {type(value).__name__}")
        if not isinstance(self.spec, Spec):
            raise errors.SpecError(f"spec is a Spec, not a {type(self.spec).__name__}")
        if "\0" in self.notify:
            raise errors.SpecError(f"not a command: notify={self.notify[:60]!r}")
        if not isinstance(self.once, bool):
            raise errors.SpecError(f"once is True or False, not {self.once!r:.60}")


class Submitted(Record):
    """The outcome of a job request; either ``job`` or ``error`` is set.

    ``was_there`` says that the job held the request's key before, so that nothing was
    started, and ``differs`` that it does so with another command.
    """

    job: Job | None
    error: SshJobsError | None = None
    differs: bool = False
    was_there: bool = False


class KnownJob(Record):
    """The job of a request for which no host is to be asked now.

    It holds the key of the request, and is COMPLETED or waits here, or it is a new one
    that waits here.
    """

    job_id: str
    outcome: str = SERVED


def submit_jobs(
    ctx: Context, host: str, job_requests: Iterable[JobRequest], *, follow: bool = False
) -> list[Submitted]:
    """Start jobs on a host.

    Args:
        follow: Bring their logs at once, and their ends, if these come soon: a short
            job is one session then.

    After return, each job has started there, exactly once, or its error says why
    it never will. After an error, nothing of the batch is left here or there.

    Returns:
        One entry a request, in the order of the requests.

    Raises:
        SpecError: a request is wrong; nothing was done.
        HostUnreachable: nothing ran, nothing will.
        NotYet: sent, and unanswered, at least one of them; ``job_ids`` name, in the
            order of the requests, the jobs that have started or that any later verb of
            this machine will see to.
    """
    return list(submit_each_job(ctx, host, job_requests, follow=follow))


def submit_each_job(
    ctx: Context, host: str, job_requests: Iterable[JobRequest], *, follow: bool = False
) -> Generator[Submitted, None, None]:
    """Start a batch of any length: neither requests nor results pile up in memory.

    The host is asked after the last request was read and found right. The first result
    comes when each job has started. A caller that does not take all of them closes the
    generator before the context.
    """
    check_host(host)
    with ctx.coordinator(host) as coordinator:
        batch = ctx.find_handed_job(coordinator) if ctx.find_handed_job else None
        if ctx.handed_id:
            job_requests = [one._replace(id=ctx.handed_id) for one in job_requests]
        if batch is None:
            batch = _write_jobs_down(coordinator, job_requests, follow)
        numbers, known = batch.starts, batch.known
        try:
            if numbers:
                _wait_until_started(coordinator, batch, ctx)
        except NotYet as error:
            # The ids of jobs that needed no host, each in its place.
            ids = iter(error.job_ids)
            places = range(len(error.job_ids) + len(known))
            all_ids = [known[at].job_id if at in known else next(ids) for at in places]
            raise NotYet(error.detail, tuple(all_ids)) from error
        except BaseException:
            coordinator.store.intents.withdraw_intents(batch.waiting)
            raise
        try:
            yield from _yield_in_input_order(coordinator.store, numbers, known)
        finally:
            coordinator.store.intents.drop_intents(numbers)


def check_job_request(job_request: JobRequest) -> JobRequest:
    """Return the request if it can be carried out.

    Raises:
        SpecError: it cannot; the text says why.
    """
    check_spec(job_request.spec)
    if job_request.spec.launcher or job_request.spec.launcher_args:
        from ..launchers import find_launcher

        find_launcher(job_request.spec.launcher).check_spec(job_request.spec)
    if job_request.id and not is_job_id(job_request.id):
        raise errors.SpecError(f"not the id of a job: {job_request.id[:80]!a}")
    for text in (job_request.name, job_request.key):
        # Stray bytes of an argument, or half a surrogate pair of JSON, are no text.
        if "\0" in text or len(text) > 1024 or _escape_for_store(text) != text:
            raise errors.SpecError(
                f"not a name or key, which is a text of 1,024 characters at most and "
                f"has no NUL: {text[:60]!r}"
            )
    if job_request.cleanup not in (None, *CLEANUP):
        raise errors.SpecError(
            f"{job_request.cleanup!r} is not one of {', '.join(CLEANUP)}"
        )
    most: object = job_request.max_log_bytes
    is_count = isinstance(most, int) and not isinstance(most, bool)
    if most is not None and not (is_count and most in range(1 << 62)):
        raise errors.SpecError(
            f"max_log_bytes is a number of bytes, 0 for all, not {most!r:.60}"
        )
    if job_request.once and not job_request.key:
        raise errors.SpecError("--once goes with --key")
    return job_request


def choose_shell(shell: str, login: bool, startup: str) -> str:
    """Return which shell is to run a line, with its flags, for a spec.

    Args:
        shell: The one that was asked for, "" for the login shell.
        login: Whether it is to read the files of a login.
        startup: The setting ``shell_startup``.
    """
    if login or (startup == "login" and not shell):
        return f"{shell or '-'} -l"
    return shell or ("-" if startup == "none" else "")


def choose_launcher(launcher: object, settings: Settings) -> str:
    """Return what is to start a job there, for a spec; "" is process."""
    launcher = launcher or settings.launcher
    if launcher not in LAUNCHERS:
        raise errors.SpecError(f"{launcher!r:.60} is not one of {', '.join(LAUNCHERS)}")
    return "" if launcher == "process" else str(launcher)


def find_known_job(
    coordinator: Coordinator, job_request: JobRequest
) -> KnownJob | None:
    """Return the job that holds the request's key, if the record alone can tell.

    A final state never changes, so that the host need not be asked; of a job that waits
    here for others the host does not know.
    """
    if not job_request.key:
        return None
    store = coordinator.store
    for job in store.jobs.find_by_key(job_request.key):
        if job.site_id == coordinator.site_id and (
            job.state == states.COMPLETED
            or (job.state == states.PENDING and store.intents.is_held(job.id))
        ):
            is_same = job.digest == job_request.spec.digest()
            return KnownJob(job.id, SAME if is_same else DIFFERS)
    return None


def _wait_until_started(
    coordinator: Coordinator, batch: WrittenBatch, ctx: Context
) -> None:
    numbers, logs, waiting = batch.starts, batch.logs, batch.waiting
    receiver = ctx.make_receiver(coordinator, numbers) if ctx.make_receiver else None
    try:
        if ctx.is_interrupted:
            raise KeyboardInterrupt
        need = require_intents_served(coordinator.site, numbers)
        coordinator.wait_for(need, wish=RoundWish(receiver=receiver))
        if receiver:
            receiver.tell_started()
    except SshJobsError as error:
        from .withdraw import take_back_unsent

        take_back_unsent(coordinator, numbers, waiting, error)
    except BaseException:
        from .withdraw import leave_what_was_sent

        every = [*numbers, *waiting]
        ctx.sent_ids += leave_what_was_sent(coordinator.store, every, not logs)
        raise
    finally:
        if receiver:
            receiver.close()
        if logs:
            coordinator.store.intents.drop_intents(logs)


class WrittenBatch(Record):
    """The numbers of intents: to start, for logs, and to start what waits here.

    ``known`` has by its place in the batch each request that asks no host.
    """

    starts: list[int]
    logs: list[int]
    waiting: list[int]
    known: dict[int, KnownJob]


def _write_jobs_down(
    coordinator: Coordinator, job_requests: Iterable[JobRequest], follow: bool
) -> WrittenBatch:
    """Write jobs and their intents into the store, all or none."""
    store, now = coordinator.store, coordinator.clock()
    site_id = coordinator.site_id
    known: dict[int, KnownJob] = {}
    named: set[str] = set()
    holds: BatchHolds | None = None
    with store.files.hold_off_sweep(), store.jobs.collect_batch() as batch:
        for place, job_request in enumerate(job_requests):
            other = find_known_job(coordinator, check_job_request(job_request))
            if other is not None:
                known[place] = other
                continue
            # A microsecond apart, so that lists keep the order of a batch.
            job = build_job(coordinator, job_request, now + place * 1e-6)
            batch.add(job)
            spec = job_request.spec
            if spec.launcher_args:  # other jobs may be among them
                if holds is None:
                    from .hold import BatchHolds as make_holds

                    holds = make_holds(store, named)
                spec = holds.take_spec(job, spec)
                if job.id in holds:
                    known[place] = KnownJob(job.id)
            named.update([job_request.id] * bool(job_request.id))
            if job.digest != RECORDED:
                store.files.save_spec(job.id, spec)
            if job_request.notify:
                store.files.save_notify(job.id, job_request.notify)
        waits = holds or ()
        with store.begin_write(durable=bool(waits)):
            batch.store()
            ids = (job_id for job_id in batch.ids() if job_id not in waits)
            starts = store.intents.add_intents(site_id, "start", ids)
            ids = (job_id for job_id in batch.ids() if follow and job_id not in waits)
            logs = store.intents.add_intents(site_id, "log", ids)
            waiting = holds.write_down() if holds else []
            return WrittenBatch(starts, logs, waiting, known)


def build_job(coordinator: Coordinator, job_request: JobRequest, now: float) -> Job:
    spec = job_request.spec
    return Job(
        id=job_request.id or new_job_id(),
        host=coordinator.identity.host,
        site_id=coordinator.site_id,
        state=states.PENDING,
        key=job_request.key,
        name=job_request.name,
        once=job_request.once,
        command=_escape_for_store(spec.text()[:_COMMAND_SHOWN]),
        digest=spec.digest() if job_request.key else _mark_whole_record(spec),
        cwd=_escape_for_store(spec.cwd),
        shell=spec.shell,
        env_names=" ".join(name for name, _ in spec.env),
        timeout=spec.timeout,
        cleanup=job_request.cleanup or coordinator.settings.cleanup,
        max_log_bytes=(
            coordinator.settings.max_log_bytes
            if job_request.max_log_bytes is None
            else job_request.max_log_bytes
        ),
        launcher=spec.launcher,
        submitted_at=now,
        stderr_bytes=0 if spec.split else None,
    )


def _mark_whole_record(spec: Spec) -> str:
    """Return LINE or VECTOR if a record has all of a spec but values of variables.

    It is RECORDED where nothing at all is missing. It stands in the place of the digest
    that only a key has use for.
    """
    text = spec.text()
    is_whole = len(text) <= _COMMAND_SHOWN and spec.stdin is None
    if not is_whole or _escape_for_store(text + spec.cwd) != text + spec.cwd:
        return ""
    if not isinstance(spec.command, bytes):
        return VECTOR
    is_usual = spec.kill_grace == USUAL_GRACE and spec.unbuffered
    missing = spec.env or spec.launcher or spec.launcher_args
    return RECORDED if is_usual and not missing else LINE


def _escape_for_store(text: str) -> str:
    """Return text that SQLite takes: stray bytes become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _yield_in_input_order(
    store: Store, numbers: Sequence[int], known: dict[int, KnownJob]
) -> Iterator[Submitted]:
    """Yield the outcome of each request, in the order of the batch."""
    results = (done for some in slices(numbers) for done in read_outcomes(store, some))
    for place in range(len(numbers) + len(known)):
        other = known.get(place)
        if other is None:
            yield next(results)
        else:
            job = store.jobs.find_job(other.job_id)
            yield build_submitted(other.job_id, job, other.outcome)


def read_outcomes(store: Store, numbers: Sequence[int]) -> list[Submitted]:
    intents = store.intents.read_outcomes(numbers)
    jobs = store.jobs.find_jobs({intent.job_id for intent in intents.values()})
    results = []
    for number in numbers:
        intent = intents[number]
        if intent.outcome == FAILED:
            results.append(Submitted(None, errors.load(intent.note)))
            continue
        job = jobs.get(intent.job_id)
        results.append(build_submitted(intent.job_id, job, intent.outcome))
    return results


def build_submitted(job_id: str, job: Job | None, outcome: str) -> Submitted:
    if job is None:  # another process has pruned the record meanwhile
        return Submitted(None, errors.JobError(job_id, "is no longer in the record"))
    return Submitted(job, None, outcome == DIFFERS, outcome in (DIFFERS, SAME))
