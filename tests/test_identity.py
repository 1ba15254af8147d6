"""Identities: the connection that a name means, and the credentials of a login."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sshjobs import errors, transports
from sshjobs.model import pack
from tests.masters import add_key
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller


def test_identity_survives_its_text(caller: TransportCaller) -> None:
    assert transports.Identity.from_bytes(caller.identity.to_bytes()) == caller.identity
    assert not transports.Identity.from_bytes(
        pack(("of", "another", "version"))
    ).is_fresh()


def test_identity_of_an_older_record_is_read(caller: TransportCaller) -> None:
    """Up to schema 4 a flag stood after the first hop: whether a proxy is used."""
    new = tuple(caller.identity)
    old = (*new[:8], False, *new[8:])
    assert transports.Identity.from_bytes(pack(old)) == caller.identity
    shorter = transports.Identity.from_bytes(pack(old[:15]))
    assert shorter[:10] == new[:10] and not shorter.is_fresh()


def test_identity_is_fresh_until_a_file_changes(
    sshd: Sshd, caller: TransportCaller
) -> None:
    more = sshd.folder / "more"
    more.mkdir()
    sshd.write_client_config(before=f"Include {more}/*.conf")
    identity = caller.identity
    assert identity.cacheable and identity.is_fresh()
    (more / "new.conf").write_text("Compression yes\n")
    assert not identity.is_fresh()
    identity = caller.identity
    assert identity.is_fresh()
    (more / "new.conf").write_text("Compression no # longer\n")
    assert not identity.is_fresh()
    identity = caller.identity
    sshd.write_client_config(before="Port 1")
    assert not identity.is_fresh()
    assert caller.identity.key != identity.key


@pytest.mark.parametrize(
    "before",
    ["Match exec true", "Match host x exec true", "match localnetwork ::1/128"],
)
def test_identity_that_depends_on_more_than_files_is_not_kept(
    sshd: Sshd, caller: TransportCaller, before: str
) -> None:
    sshd.write_client_config(before=f"{before}\n    Compression yes\n")
    try:
        identity = caller.identity
    except errors.SpecError:
        pytest.skip("an ssh that does not know this yet")
    assert not identity.cacheable and not identity.is_fresh()


def test_environment_in_the_configuration_is_part_of_the_identity(
    sshd: Sshd, caller: TransportCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    sshd.write_client_config("CertificateFile ${SJ_CERT}")
    monkeypatch.setenv("SJ_CERT", "/one")
    one = caller.identity
    monkeypatch.setenv("SJ_CERT", "/two")
    assert caller.identity.key != one.key
    assert not one.cacheable


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "", "a\nb"])
def test_word_that_is_no_host_is_refused(host: str, caller: TransportCaller) -> None:
    with pytest.raises(errors.SpecError):
        transports.resolve_host(host, caller.settings)


def test_local_is_this_machine_and_an_alias_may_still_be_called_so(
    sshd: Sshd, caller: TransportCaller
) -> None:
    assert transports.resolve_host("local", caller.settings).is_local
    text = sshd.config.read_text().replace("Host box", "Host local")
    sshd.config.write_text(text)
    identity = transports.resolve_host("ssh:local", caller.settings)
    assert (identity.target, identity.port, identity.is_local) == (
        "local",
        sshd.port,
        False,
    )


def test_credentials_change_with_the_keys_and_the_agent(
    sshd: Sshd, caller: TransportCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    before = transports.digest_credentials(caller.identity)
    assert before == transports.digest_credentials(caller.identity)
    sshd.key.write_text(sshd.key.read_text() + "\n")
    changed = transports.digest_credentials(caller.identity)
    assert changed != before
    with agent(sshd.folder / "agent", sshd.key) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        assert transports.digest_credentials(caller.identity) != changed


@contextmanager
def agent(path: Path, key: Path) -> Iterator[Path]:
    """Run an ssh-agent that holds one key."""
    one = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        add_key(path, key)
        yield path
    finally:
        one.terminate()
        one.wait()
