"""Where a verb works: the store, the configuration, the environment.

Rounds and transports come in with the first host: ``list`` and ``show`` ask none.
"""

from __future__ import annotations

import os

from .. import errors
from ..settings import Settings, check_config, check_environ
from ..settings import resolve as resolve_settings
from ..startup.contexts import contextmanager
from ..startup.records import TYPE_CHECKING
from ..store import Store, default_home
from .config import read_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from .. import transports
    from ..rounds import Coordinator
    from ..rounds.wish import Contact, Receiver


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
        self.home = default_home(self.environ)
        if config is None:
            config = read_config(self.environ, self.home)
        self.config = config
        self.flags = dict(flags or {})
        check_environ(self.environ)
        check_config(self.config)
        #: Takes a text that a person should read while a verb goes on.
        self.say: Callable[[str], object] = lambda text: None
        self.remark = ""  # of the store, about a record that was just begun
        #: The waits of the threads of this call, shared by all of them.
        self.contacts: list[Contact] = []
        #: Tells of the call's wait when no host owes it anything: a text, and the
        #: part of it that makes a change; called from a signal handler.
        self.goal: Callable[[], tuple[str, str]] | None = None
        #: The signals by which a person wants the work of this thread to end, and
        #: those of each thread of the call.
        self.interrupt: list[int] = []
        self.interrupts: list[list[int]] = []
        #: The jobs that an interrupted submit leaves to their host.
        self.sent_ids: list[str] = []
        self.is_left_told = (
            False  # the caller has told of the rest of an interrupted call
        )
        #: Makes the receiver of others' submits, or finds the job that this process had
        #: handed over; see :mod:`sshjobs.startup.handover`.
        self.make_receiver: Callable[[Coordinator, list[int]], Receiver] | None = None
        self.find_handed_job: Callable[[Coordinator], Any] | None = None
        self.handed_id = ""
        self.is_interrupted = False
        self._store: Store | None = None
        self._rundir = ""
        self._settings: dict[str, Settings] = {}
        self.settings("")  # so that every verb refuses a wrong setting

    def __repr__(self) -> str:
        return f"<Context {self.home}>"

    @property
    def store(self) -> Store:
        """The store, opened at the first use."""
        if self._store is None:
            self._store = Store(self.home)
            self.remark = self._store.remark
        return self._store

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def open_for_thread(self, **flags: Any) -> Context:
        """Return a context for another thread, with a store and flags of its own."""
        own = Context(self.environ, self.config, self.flags | flags)
        own.contacts, own.sent_ids, own.say = self.contacts, self.sent_ids, self.say
        self.interrupts.append(own.interrupt)
        return own

    def settings(self, host: str) -> Settings:
        """Return the settings in force for a host; most hosts have no table."""
        host = host if host in self.config.get("host", ()) else ""
        if host not in self._settings:
            self._settings[host] = resolve_settings(
                host, self.config, self.environ, self.flags
            )
        return self._settings[host]

    @property
    def is_told_where(self) -> bool:
        """Tell whether the call itself says where its host is (``-p`` and so on)."""
        return "ssh_options" in self.flags or "ssh_config" in self.flags

    def identity(self, host: str, settings: Settings) -> transports.Identity:
        """Return the identity of a host's name, from the store if it still holds."""
        name = "\n".join(
            (host, settings.ssh_config, settings.ssh_options, settings.transport)
        )
        from .. import transports

        data = self.store.sites.read_identity(name)
        known = transports.Identity.from_bytes(data) if data else None
        if known is not None and known.is_fresh():
            return known
        from .identities import resolve_identity

        return resolve_identity(self.store, name, host, settings)

    def rundir(self) -> str:
        """Return the directory of sockets, checked."""
        if not self._rundir:
            from .. import transports

            self.store  # noqa: B018  the home must exist
            path = transports.choose_rundir(self.home)
            transports.check_rundir(path)
            self._rundir = path
        return self._rundir

    @contextmanager
    def coordinator(self, host: str) -> Iterator[Coordinator]:
        """Yield the host's :class:`~sshjobs.rounds.Coordinator`, and let go of it."""
        from ..host_names import check_host

        check_host(host)
        settings = self.settings(host)
        with self._make_contact(host) as contact:
            identity = self.identity(host, settings)
            with self._make_coordinator(identity, settings, contact) as coordinator:
                yield coordinator

    @contextmanager
    def _make_contact(self, host: str) -> Iterator[Contact]:
        """Yield a contact that others can read meanwhile."""
        from ..rounds.wish import RESOLVING, Contact

        contact = Contact(host, self.interrupt)
        contact.begin(RESOLVING)
        self.contacts.append(contact)
        try:
            yield contact
        finally:
            self.contacts.remove(contact)

    def _make_coordinator(
        self, identity: transports.Identity, settings: Settings, contact: Contact
    ) -> Coordinator:
        from ..rounds import Coordinator

        contact.rest()
        return Coordinator(
            self.store, identity, settings, self.rundir(), contact=contact
        )

    @contextmanager
    def coordinator_at(self, site_id: str) -> Iterator[Coordinator]:
        """Yield the coordinator of a site of the record.

        Its jobs are asked about as they were submitted: by that name, with that
        configuration and below that base directory, even if these have changed.
        """
        from .. import transports

        row = self.store.sites.find_site(site_id)
        if row is None:
            raise errors.StoreError(f"{self.store.path}: no such connection: {site_id}")
        settings = self.settings(row.host).replace(remote_base_dir=row.base)
        identity = transports.Identity.from_bytes(row.identity)
        if not identity.key:
            raise errors.StoreError(
                f"{self.store.path}: its record of the connection to {row.host} cannot "
                f"be read. Make it anew:\nsshjobs poll --host {row.host} --adopt"
            )
        with self._make_contact(row.host) as contact:
            with self._make_coordinator(identity, settings, contact) as coordinator:
                yield coordinator
