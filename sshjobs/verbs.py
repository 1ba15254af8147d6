"""What sshjobs can do, as plain functions that print nothing.

Each takes a :class:`Context` and returns jobs. A verb writes what it wants into
the store before any contact, then pursues it (``rounds.Party.pursue``); who leads
the round is none of its business. Verbs that span hosts work on them side by
side, so that a dead host costs its own bound and delays no other.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from . import errors, protocol, states, transports
from .errors import JobNotFound, NotYet, SshJobsError
from .model import JOB_ID, Job, Spec, check_host, check_spec, new_job_id
from .rounds import Party
from .settings import Settings
from .settings import resolve as resolve_settings
from .store import HostRow, Store, default_home

T = TypeVar("T")

#: A record of a command longer than this is cut; the host has it whole.
_COMMAND_SHOWN = 4096

#: After the grace, how long ``kill`` waits for the end to be known.
_KILL_BOUND = 60.0


_NOT_HOME = "not reaped: its log could not be brought home"


class Order(NamedTuple):
    """One job to submit: what to run, and what it is to be called."""

    spec: Spec
    name: str = ""
    key: str = ""
    once: bool = False
    cleanup: str | None = None  # None: the setting


class Submitted(NamedTuple):
    """What became of an order; either ``job`` or ``error`` is set.

    ``differs`` says that the job holds the order's key with another command.
    """

    job: Job | None
    error: SshJobsError | None = None
    differs: bool = False


class Answer(NamedTuple):
    """Jobs, and the hosts that could not be asked about them."""

    jobs: list[Job]
    errors: list[SshJobsError]
    notes: list[str] = []


class Interrupted(BaseException):
    """A signal that ends the verb; not an Exception, so that nothing swallows it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class Context:
    """Where a verb works: the store, the configuration, the environment.

    Args:
        environ: The environment; ``os.environ`` if None.
        config: The config file, parsed; read from its place if None.
        flags: Settings that the call itself gives.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        flags: Mapping[str, Any] | None = None,
    ) -> None:
        self.environ = dict(os.environ if environ is None else environ)
        self.config = read_config(self.environ) if config is None else config
        self.flags = dict(flags or {})
        self.home = default_home(self.environ)
        self._store: Store | None = None
        self._rundir = ""

    def __repr__(self) -> str:
        return f"<Context {self.home}>"

    @property
    def store(self) -> Store:
        """The store, opened at the first use."""
        if self._store is None:
            self._store = Store(self.home)
        return self._store

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def fork(self) -> Context:
        """Return a context for another thread, with a store of its own."""
        return Context(self.environ, self.config, self.flags)

    def settings(self, host: str) -> Settings:
        """Return the settings in force for a host."""
        return resolve_settings(host, self.config, self.environ, self.flags)

    def identity(self, host: str, settings: Settings) -> transports.Identity:
        """Return what a host's name resolves to, from the store if it still holds."""
        name = "\n".join(
            (host, settings.ssh_config, settings.ssh_options, settings.transport)
        )
        text = self.store.identity(name)
        if text:
            known = transports.Identity.loads(text)
            if known.fresh():
                return known
        identity = transports.resolve(host, settings)
        if identity.cacheable and identity.dumps() != text:
            self.store.save_identity(name, identity.dumps())
        return identity

    def rundir(self) -> str:
        """Return the directory of sockets, checked."""
        if not self._rundir:
            self.store  # noqa: B018  the home must exist
            path = transports.rundir(self.home)
            transports.check_rundir(path)
            self._rundir = path
        return self._rundir

    @contextmanager
    def party(self, host: str) -> Iterator[Party]:
        """Yield the host's :class:`~sshjobs.rounds.Party`, and let go of it."""
        check_host(host)
        settings = self.settings(host)
        identity = self.identity(host, settings)
        with Party(self.store, identity, settings, self.rundir()) as party:
            yield party


def read_config(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the config file, parsed; empty if there is none.

    Source: ``SSHJOBS_CONFIG``, else ``~/.config/sshjobs/config.toml``.
    """
    path = environ.get("SSHJOBS_CONFIG") or _config_path()
    try:
        with open(path, "rb") as file:
            text = file.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise errors.SpecError(f"{path}: {error.strerror}") from error
    try:
        return _toml(text.decode("utf-8"))
    except ValueError as error:
        raise errors.SpecError(f"{path}: {error}") from error


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    values: dict[str, Any] = tomllib.loads(text)
    return values


def _config_path() -> str:
    import pwd

    home = pwd.getpwuid(os.getuid()).pw_dir
    return os.path.join(home, ".config", "sshjobs", "config.toml")


# -- finding jobs ------------------------------------------------------------------


def find(ctx: Context, text: str, host: str | None = None) -> Job:
    """Return the job that an id, a unique beginning of one, or ``key:K`` names.

    Raises:
        JobNotFound: none does, or several do.
    """
    if text.startswith("key:"):
        jobs = ctx.store.by_key(text[4:], host)
        if not jobs:
            raise JobNotFound(text, "no job of that key in this machine's record")
        return jobs[0]
    jobs = ctx.store.find(text) if text else []
    if len(jobs) == 1:
        return jobs[0]
    if jobs:
        raise JobNotFound(text, "several jobs begin so; give more of the id")
    raise JobNotFound(text, "no such job in this machine's record: see sshjobs list")


def _chosen(
    ctx: Context, names: Sequence[str], host: str | None, key: str | None
) -> list[Job]:
    """Return the jobs that a call names; all that are active if it names none."""
    if key:
        names = [*names, f"key:{key}"]
    if names:
        return list(
            {job.id: job for job in (find(ctx, n, host) for n in names)}.values()
        )
    jobs = ctx.store.select(states=states.ACTIVE)
    return [job for job in jobs if host is None or job.host == host]


def _by_host(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.host, []).append(job)
    return groups


def _side_by_side(
    ctx: Context, hosts: Iterable[str], work: Callable[[Context, str], T]
) -> tuple[dict[str, T], list[SshJobsError]]:
    """Do the same on several hosts at once.

    Returns:
        What each host gave, and the errors of those that gave none.
    """
    names = list(dict.fromkeys(hosts))
    if len(names) <= 1:
        return _one_after_another(ctx, names, work)
    from concurrent.futures import ThreadPoolExecutor

    def in_thread(host: str) -> T:
        own = ctx.fork()
        try:
            return work(own, host)
        finally:
            own.close()

    done, failed = {}, []
    most = ctx.settings("").max_hosts
    with ThreadPoolExecutor(min(most, len(names))) as pool:
        futures = {host: pool.submit(in_thread, host) for host in names}
        for host, future in futures.items():
            try:
                done[host] = future.result()
            except SshJobsError as error:
                failed.append(error)
    return done, failed


def _one_after_another(
    ctx: Context, hosts: list[str], work: Callable[[Context, str], T]
) -> tuple[dict[str, T], list[SshJobsError]]:
    done: dict[str, T] = {}
    failed: list[SshJobsError] = []
    for host in hosts:
        try:
            done[host] = work(ctx, host)
        except SshJobsError as error:
            failed.append(error)
    return done, failed


# -- submit ------------------------------------------------------------------------


def submit(ctx: Context, host: str, orders: Sequence[Order]) -> list[Submitted]:
    """Start jobs on a host.

    After return, each job has started there, exactly once, or its error says why
    it never will. After an error, nothing of the batch is left here or there.

    Returns:
        One entry an order, in their order.

    Raises:
        SpecError: an order is wrong; nothing was done.
        HostUnreachable: nothing ran, nothing will.
        NotYet: sent, and unanswered; ``job_ids`` name what any later verb of this
            machine will see to.
    """
    check_host(host)
    for order in orders:
        check_order(order)
    with ctx.party(host) as party:
        known = {i: _completed(party, order) for i, order in enumerate(orders)}
        fresh = [order for i, order in enumerate(orders) if known[i] is None]
        results = iter(_submit_fresh(party, fresh) if fresh else ())
        return [known[i] or next(results) for i in range(len(orders))]


def check_order(order: Order) -> Order:
    """Return the order if it can be carried out.

    Raises:
        SpecError: it cannot, and why.
    """
    check_spec(order.spec)
    for text in (order.name, order.key):
        if "\0" in text or len(text) > 1024:
            raise errors.SpecError(f"not a name or key: {text[:60]!r}")
    if order.once and not order.key:
        raise errors.SpecError("--once goes with --key")
    return order


def _completed(party: Party, order: Order) -> Submitted | None:
    """Return the COMPLETED job of the order's key, if it is known here.

    A final state never changes, so that the host need not be asked.
    """
    if not order.key:
        return None
    for job in party.store.by_key(order.key):
        if job.conn == party.conn and job.state == states.COMPLETED:
            return Submitted(job, None, job.digest != order.spec.digest())
    return None


def _submit_fresh(party: Party, orders: Sequence[Order]) -> list[Submitted]:
    numbers = _write_down(party, orders)
    try:
        party.pursue(party.served(numbers))
    except SshJobsError as error:
        _take_back(party, numbers, error)
    except BaseException:
        party.store.withdraw(numbers)
        raise
    return _outcomes(party.store, numbers)


def _write_down(party: Party, orders: Sequence[Order]) -> list[int]:
    """Write jobs and what is wanted of them into the store."""
    store, now = party.store, party.clock()
    jobs = [_job_of(party, order, now) for order in orders]
    for job, order in zip(jobs, orders):
        store.save_spec(job.id, order.spec)
    with store.write():
        store.add_jobs(jobs)
        return store.add_intents(party.conn, "start", [job.id for job in jobs])


def _job_of(party: Party, order: Order, now: float) -> Job:
    spec = order.spec
    return Job(
        id=new_job_id(),
        host=party.identity.host,
        conn=party.conn,
        state=states.PENDING,
        key=order.key,
        name=order.name,
        once=order.once,
        command=_storable(spec.text()[:_COMMAND_SHOWN]),
        digest=spec.digest(),
        cwd=_storable(spec.cwd),
        shell=spec.shell,
        env_names=" ".join(name for name, _ in spec.env),
        timeout=spec.timeout,
        cleanup=order.cleanup or party.settings.cleanup,
        submitted_at=now,
    )


def _storable(text: str) -> str:
    """Return text that SQLite takes: stray bytes become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _take_back(party: Party, numbers: Sequence[int], error: SshJobsError) -> None:
    """Withdraw what was not sent; keep, durably, what was; raise what to say."""
    store = party.store
    outcomes = store.outcomes(numbers)
    told = [i for i in outcomes.values() if i.done]
    if told and len(told) == len(outcomes):
        return  # the reply came after all, perhaps to another process
    _, kept = store.withdraw([i.id for i in outcomes.values() if not i.done])
    if not kept and not told:
        raise error
    if isinstance(error, errors.HostError):
        raise error
    with store.write(durable=True):
        store.sync_specs(kept)
        for job_id in kept:
            store.update(job_id, reason="sent, and not answered yet")
    ids = tuple(kept) + tuple(i.job_id for i in told)
    raise NotYet(
        f"{error}: {len(kept)} of {len(outcomes)} jobs were sent and not answered; "
        "they are seen to by the next sshjobs poll",
        ids,
    ) from error


def _outcomes(store: Store, numbers: Sequence[int]) -> list[Submitted]:
    """Read what became of orders, and clear it away."""
    intents = store.outcomes(numbers)
    jobs = store.jobs({intent.job_id for intent in intents.values()})
    results = []
    for number in numbers:
        intent = intents[number]
        differs = intent.note == '["Differs", []]'
        job = jobs.get(intent.job_id)
        if intent.note and not differs:
            results.append(Submitted(None, errors.load(intent.note)))
        elif job is None:
            error = errors.JobError(intent.job_id, "is no longer in the record")
            results.append(Submitted(None, error))
        else:
            results.append(Submitted(job, None, differs))
    store.drop_intents(numbers)
    return results


# -- logs and run --------------------------------------------------------------------


class Tap:
    """Copies a job's log, as it is brought home, to a sink.

    Args:
        store: The store.
        job_id: The job.
        write: Takes bytes; may raise ``BrokenPipeError``.
        offset: Where to begin, in bytes.
    """

    def __init__(
        self, store: Store, job_id: str, write: Callable[[bytes], object], offset: int
    ) -> None:
        self._path = store.log_path(job_id)
        self._write = write
        self.at = offset

    def copy(self, upto: int) -> None:
        """Hand over what lies between the last byte given and ``upto``."""
        if upto <= self.at:
            return
        with open(self._path, "rb") as file:
            file.seek(self.at)
            while self.at < upto:
                data = file.read(min(1 << 20, upto - self.at))
                if not data:
                    return
                self._write(data)
                self.at += len(data)


def logs(
    ctx: Context,
    job: Job,
    write: Callable[[bytes], object],
    *,
    follow: bool = False,
    offset: int = 0,
    tail: int | None = None,
) -> Job:
    """Hand over the bytes of a job's log.

    Args:
        write: Takes each piece, in order, none twice.
        follow: Go on until the job has ended and its last byte was given.
        offset: Begin at this byte.
        tail: Begin with the last so many lines of what there is now.

    Raises:
        HostUnreachable: after what is here already was given.
    """
    if job.log_final or job.reaped_at is not None:
        _give(ctx.store, job, write, offset, tail)
        return job
    with ctx.party(job.host) as party, _wanting_log(party, job.id):
        if tail is not None or not follow:
            error = _bring(party, job.id)
            job = _known(party.store, job)
            at = _give(party.store, job, write, offset, tail)
            if error is not None:
                raise error
            if not follow:
                return job
            offset = at
        return _follow(party, job.id, Tap(party.store, job.id, write, offset))


def _give(
    store: Store,
    job: Job,
    write: Callable[[bytes], object],
    offset: int,
    tail: int | None,
) -> int:
    """Hand over what is here; return the offset after it."""
    if tail is not None:
        offset = max(offset, _tail_offset(store.log_path(job.id), job.log_home, tail))
    tap = Tap(store, job.id, write, offset)
    tap.copy(job.log_home)
    return max(tap.at, offset)


def _tail_offset(path: str, size: int, lines: int) -> int:
    """Return where the last ``lines`` lines of the first ``size`` bytes begin."""
    if lines <= 0 or not size:
        return size
    with open(path, "rb") as file:
        at = size
        while at > 0:
            start = max(0, at - 65536)
            file.seek(start)
            block = file.read(at - start)
            end = len(block) - (at == size)  # a final newline ends the last line
            while (end := block.rfind(b"\n", 0, end)) >= 0:
                lines -= 1
                if not lines:
                    return start + end + 1
            at = start
    return 0


@contextmanager
def _wanting_log(party: Party, job_id: str) -> Iterator[None]:
    """Have every round bring this job's log, as long as this lasts."""
    numbers = party.store.add_intents(party.conn, "log", [job_id])
    try:
        yield
    finally:
        party.store.drop_intents(numbers)


def _known(store: Store, job: Job) -> Job:
    return store.job(job.id) or job


def _bring(party: Party, job_id: str) -> SshJobsError | None:
    """Bring home all of a log that there is now; return what prevented it."""
    fresh = party.fresh(party.clock())

    def need() -> float | None:
        due = fresh()
        if due is not None:
            return due
        job = party.store.job(job_id)
        if job is None or job.reaped_at is not None or job.log_home >= job.log_bytes:
            return None
        return 0.0

    try:
        party.pursue(need)
    except SshJobsError as error:
        return error
    return None


def _follow(party: Party, job_id: str, tap: Tap) -> Job:
    """Copy a log until its job has ended and its last byte is given."""

    def need() -> float | None:
        job = party.store.job(job_id)
        if job is None:
            return None
        tap.copy(job.log_home)
        if states.is_final(job.state) and (job.log_final or job.reaped_at is not None):
            return None
        if job.log_bytes > job.log_home:
            return 0.0
        return pace()

    pace_ = party.paced(lambda: True)

    def pace() -> float:
        return pace_() or 0.0

    party.pursue(need)
    job = party.store.job(job_id)
    if job is None:
        raise errors.JobError(job_id, "is no longer in the record")
    return job


def run(
    ctx: Context,
    host: str,
    order: Order,
    write: Callable[[bytes], object],
    on_start: Callable[[Submitted], object],
    *,
    detach_on_signal: bool = False,
) -> Job:
    """Submit a job, hand over its log as it grows, return it when it has ended.

    SIGINT and SIGTERM cancel the job, unless ``detach_on_signal``; a second one
    ends the verb at once. SIGHUP and a ``BrokenPipeError`` of ``write`` leave it.

    Args:
        write: Takes each piece of the log.
        on_start: Called once, when the job is known to have started.

    Raises:
        Interrupted: with ``detach_on_signal``, after a signal.
        BrokenPipeError: from ``write``; the job runs on.
    """
    job: Job | None = None
    try:
        with _signals():
            done = submit(ctx, host, [order])[0]
            if done.error is not None:
                raise done.error
            job = done.job
            assert job is not None
            on_start(done)
            ended = logs(ctx, job, write, follow=True)
    except Interrupted as signal_:
        if detach_on_signal or job is None:
            raise
        ended = _cancel(ctx, job, write, signal_)
    return _cleaned(ctx, ended)


def _cancel(
    ctx: Context, job: Job, write: Callable[[bytes], object], cause: Interrupted
) -> Job:
    """End the job of a ``run`` that was told to end."""
    with _signals():
        kill(ctx, [job.id])
    return ctx.store.job(job.id) or job


@contextmanager
def _signals() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into :class:`Interrupted`, in the main thread."""
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(signum: int, _frame: object) -> None:
        raise Interrupted(signum)

    old = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        for signum in old:
            signal.signal(signum, handler)
        yield
    finally:
        for signum, before in old.items():
            signal.signal(signum, before)


def _cleaned(ctx: Context, job: Job) -> Job:
    """Have the directory of an ended job gone, if it is to go; never fail for it."""
    from .facts import wants_cleanup

    if not wants_cleanup(job) or job.reaped_at is not None:
        return job
    try:
        answer = _reap_jobs(ctx, job.host, [job], [])
    except SshJobsError:
        return _known(ctx.store, job)
    return answer[0] if answer else _known(ctx.store, job)


# -- poll and wait -------------------------------------------------------------------


def poll(
    ctx: Context,
    names: Sequence[str] = (),
    *,
    host: str | None = None,
    key: str | None = None,
    adopt: bool = False,
    sensor: bool = False,
) -> Answer:
    """Ask each host once, and return the jobs as they are.

    Args:
        names: Ids, prefixes or ``key:K``; empty: all that are active.
        adopt: Take up jobs on ``host`` that the store does not know.
        sensor: Be content with a round that began ``poll_interval`` ago.
    """
    if adopt:
        return _adopt(ctx, host)
    jobs = _chosen(ctx, names, host, key)
    asked = {h for h, group in _by_host(jobs).items() if any_active(group)}

    def ask(own: Context, name: str) -> None:
        with own.party(name) as party:
            since = party.clock() - (party.settings.poll_interval if sensor else 0.0)
            party.pursue(party.fresh(since))

    _, failed = _side_by_side(ctx, asked, ask)
    now = ctx.store.jobs([job.id for job in jobs])
    return Answer([now.get(job.id, job) for job in jobs], failed)


def any_active(jobs: Iterable[Job]) -> bool:
    """Tell whether one of these jobs may still change."""
    return any(not states.is_final(job.state) for job in jobs)


def wait(
    ctx: Context,
    names: Sequence[str] = (),
    *,
    host: str | None = None,
    timeout: float | None = None,
) -> Answer:
    """Wait until jobs have ended.

    Args:
        names: Ids, prefixes or ``key:K``; empty: all that are active.
        timeout: Seconds; the jobs are not touched when they pass.
    """
    jobs = _chosen(ctx, names, host, None)
    groups = {h: g for h, g in _by_host(jobs).items() if any_active(g)}
    until = None if timeout is None else time.time() + timeout

    def work(own: Context, name: str) -> None:
        ids = [job.id for job in groups[name]]
        with own.party(name) as party:
            need = party.paced(lambda: own.store.count_active(ids) > 0)
            party.pursue(need, until=until)

    _, failed = _side_by_side(ctx, groups, work)
    now = ctx.store.jobs([job.id for job in jobs])
    return Answer([now.get(job.id, job) for job in jobs], failed)


def _adopt(ctx: Context, host: str | None) -> Answer:
    """Take up what stands on a host and is not in the store."""
    if not host:
        raise errors.SpecError("--adopt goes with --host")
    with ctx.party(host) as party:
        jobs, notes = _take_up(party, lambda listed: True)
    return Answer(jobs, [], notes)


def _take_up(
    party: Party, wanted: Callable[[protocol.Listed], bool]
) -> tuple[list[Job], list[str]]:
    """Give the store a row for each wanted directory that it does not know."""
    listed = _listing(party)
    found = [fact for fact in listed if isinstance(fact, protocol.Listed)]
    odd = [
        f"{party.identity.host}: {fact.entry}: {fact.reason}; left as it is"
        for fact in listed
        if isinstance(fact, protocol.ListedOdd)
    ]
    known = party.store.jobs([fact.job_id for fact in found])
    new = [f for f in found if f.job_id not in known and wanted(f)]
    now = party.clock()
    with party.store.write():
        party.store.add_jobs(_adopted(party, fact, now) for fact in new)
    party.pursue(party.fresh(party.clock()))
    jobs = party.store.jobs([fact.job_id for fact in new])
    return list(jobs.values()), odd


def _listing(party: Party) -> list[protocol.Event]:
    """Have one round, led by this process, list what stands on the host."""
    party.listing, party.listing_done = True, False

    def need() -> float | None:
        return None if party.listing_done else 0.0

    try:
        party.pursue(need)
    finally:
        party.listing = False
    return list(party.listed)


def _adopted(party: Party, fact: protocol.Listed, now: float) -> Job:
    return Job(
        id=fact.job_id,
        host=party.identity.host,
        conn=party.conn,
        state=states.PENDING,
        key=fact.key,
        name=fact.name,
        digest=fact.digest,
        submitted_at=now - max(0.0, fact.age),
    )


# -- kill and reap -------------------------------------------------------------------


def kill(ctx: Context, names: Sequence[str]) -> Answer:
    """End jobs with their whole trees, and return how each ended.

    A job that was not yet sent is CANCELLED here and never sent. One that had
    ended keeps its own state.
    """
    jobs = _chosen(ctx, names, None, None) if names else []
    groups = _by_host(job for job in jobs if not states.is_final(job.state))

    def work(own: Context, name: str) -> None:
        with own.party(name) as party:
            _kill_on(party, [job.id for job in groups[name]])

    _, failed = _side_by_side(ctx, groups, work)
    now = ctx.store.jobs([job.id for job in jobs])
    return Answer([now.get(job.id, job) for job in jobs], failed)


def _kill_on(party: Party, ids: list[str]) -> None:
    store = party.store
    with store.write():
        sent = [job_id for job_id in ids if not _cancel_unsent(party, job_id)]
        numbers = store.add_intents(party.conn, "kill", sent)
    if not sent:
        return
    try:
        party.pursue(party.served(numbers))
    except SshJobsError as error:
        outcomes = store.outcomes(numbers).values()
        if all(i.sent or i.done for i in outcomes):
            raise NotYet(f"{error}: sent, and not answered", tuple(sent)) from error
        store.withdraw([i.id for i in outcomes if not i.sent])
        raise
    store.drop_intents(numbers)
    grace = party.settings.kill_grace + _KILL_BOUND
    active = party.paced(lambda: store.count_active(sent) > 0)
    if not party.pursue(active, until=party.clock() + grace):
        raise NotYet("told to end, and not ended yet", tuple(sent))


def _cancel_unsent(party: Party, job_id: str) -> bool:
    """Cancel a job that no request has named yet; inside a transaction."""
    store = party.store
    start = store.start_intent(job_id)
    if start is None or start.sent:
        return False
    store.update(
        job_id,
        state=states.CANCELLED,
        finished_at=party.clock(),
        log_final=True,
        reason="cancelled before it was sent",
    )
    store.serve([start.id])
    store.drop_spec(job_id)
    return True


def reap(
    ctx: Context,
    *,
    host: str | None = None,
    older_than: float = 0.0,
    orphans: bool = False,
    dry_run: bool = False,
) -> Answer:
    """Bring ended jobs home and delete their directories on the hosts.

    Args:
        older_than: Only what ended at least so many seconds ago.
        orphans: Also directories that the store does not know.
        dry_run: Return what would go, delete nothing.
    """
    names = [host] if host else [row.host for row in ctx.store.hosts()]
    before = time.time() - older_than
    notes: list[str] = []
    refused: list[SshJobsError] = []

    def work(own: Context, name: str) -> list[Job]:
        with own.party(name) as party:
            jobs = own.store.unreaped(party.conn, before)
            extra = _orphans(party, older_than, notes, dry_run) if orphans else []
        jobs += [job for job in extra if job.id not in {known.id for known in jobs}]
        if dry_run or not jobs:
            return jobs
        return _reap_jobs(own, name, jobs, refused)

    done, failed = _side_by_side(ctx, names, work)
    ctx.store.sweep()
    jobs = [job for group in done.values() for job in group]
    return Answer(jobs, failed + refused, notes)


def _orphans(
    party: Party, older_than: float, notes: list[str], dry_run: bool
) -> list[Job]:
    """Return ended jobs that stand on the host and were unknown here."""

    def wanted(fact: protocol.Listed) -> bool:
        return states.is_final(fact.state) and fact.age >= older_than

    if not dry_run:
        jobs, odd = _take_up(party, wanted)
        notes += odd
        return [job for job in jobs if states.is_final(job.state)]
    listed = _listing(party)
    found = [f for f in listed if isinstance(f, protocol.Listed) and wanted(f)]
    known = party.store.jobs([fact.job_id for fact in found])
    now = party.clock()
    return [
        _adopted(party, fact, now)._replace(state=fact.state)
        for fact in found
        if fact.job_id not in known
    ]


def _reap_jobs(
    ctx: Context, host: str, jobs: list[Job], refused: list[SshJobsError]
) -> list[Job]:
    """Reap these ended jobs of one host; return those that are gone there."""
    ids = [job.id for job in jobs]
    with ctx.party(host) as party:
        numbers = party.store.add_intents(party.conn, "reap", ids)
        try:
            party.pursue(_progress(party, party.served(numbers)))
            outcomes = party.store.outcomes(numbers)
        finally:
            party.store.drop_intents(numbers)
        for intent in outcomes.values():
            if intent.note:
                refused.append(errors.load(intent.note))
            elif not intent.done:
                refused.append(errors.JobError(intent.job_id, _NOT_HOME))
        now = party.store.jobs(ids)
    return [job for job in now.values() if job.reaped_at is not None]


def _progress(
    party: Party, need: Callable[[], float | None]
) -> Callable[[], float | None]:
    """Give a need up once ``cleanup_retries`` rounds have brought it no further."""
    marks: list[tuple[int, int]] = []

    def watched() -> float | None:
        row = party.row()
        if not marks or row.bytes_in - marks[-1][1] > 4096:
            marks.append((row.rounds, row.bytes_in))
        if row.rounds - marks[-1][0] > party.settings.cleanup_retries:
            return None
        return need()

    return watched


# -- the record, and the connections ---------------------------------------------------


def select(
    ctx: Context, *, host: str | None = None, state: str | None = None
) -> Iterator[Job]:
    """Yield the jobs of the record, oldest first; no host is asked."""
    for job in ctx.store.select(states=(state,) if state else ()):
        if host is None or job.host == host:
            yield job


def connect(ctx: Context, host: str) -> transports.ConnState:
    """Make the connection, at a terminal if the host asks something.

    Refusals and a cooldown that are remembered for the host are forgotten.
    """
    with ctx.party(host) as party:
        door = party.door(interactive=True)
        transport = transports.connect(
            party.identity, party.settings, door, interactive=os.isatty(0)
        )
        transport.close()
        door.admit()
        return transports.state(party.identity, door)


def disconnect(ctx: Context, host: str) -> bool:
    """End the connection once its commands have ended; tell whether there was one."""
    with ctx.party(host) as party:
        return transports.disconnect(party.identity, party.settings, party.door())


class HostState(NamedTuple):
    """A host's ledger, and its connection as it is now."""

    row: HostRow
    connection: transports.ConnState | None


def hosts(ctx: Context) -> list[HostState]:
    """Return all hosts of the record; none is asked."""
    return [HostState(row, _connection(ctx, row)) for row in ctx.store.hosts()]


def _connection(ctx: Context, row: HostRow) -> transports.ConnState | None:
    try:
        with ctx.party(row.host) as party:
            if party.conn != row.conn:
                return None
            return transports.state(party.identity, party.door())
    except SshJobsError:
        return None


def exit_status(job: Job) -> int:
    """Return what ``run`` ends with for a job that has ended."""
    if job.state == states.TIMEOUT:
        return 124
    if job.state == states.CANCELLED:
        return 143
    if job.state == states.LOST:
        return 70
    if job.signal is not None:
        return 128 + job.signal
    return job.exit_status if job.exit_status is not None else 1


def looks_like_id(text: str) -> bool:
    """Tell whether text has the form of a whole job id."""
    return JOB_ID.match(text) is not None
