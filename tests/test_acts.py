"""A person has acted after a refusal: whatever a login rests on, that is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sshjobs import transports
from sshjobs.transports.login_files import list_agent_paths, list_login_files
from tests.cli import Cli
from tests.kdc import Kdc, is_here
from tests.masters import add_key, until
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller

#: A line of ssh_config, and the file below the server's directory on which a login
#: rests by it. SJ_DIR names the directory too.
FILES = {
    "IdentityFile {k}/plain": "plain",
    'IdentityFile "{k}/of two words"': "of two words",
    'IdentityFile "{k}/two  blanks"': "two  blanks",
    "IdentityFile {k}/id-%h-%r": "id-127.0.0.1-tester",
    "IdentityFile {k}/id-%n-%p": "id-box-{port}",
    "IdentityFile {k}/%u-%i-%%": "{user}-{uid}-%",
    "IdentityFile {k}/%C": "{hash}",
    "IdentityFile ${SJ_DIR}/variable": "variable",
    "IdentityFile {k}/certified": "certified-cert.pub",
    "IdentityFile {k}/public": "public.pub",
    "CertificateFile {k}/cert-%k": "cert-box",
    'UserKnownHostsFile "{k}/known hosts" {k}/second': "known hosts",
    'UserKnownHostsFile {k}/first "{k}/known hosts" {k}/3': "known hosts",
    "UserKnownHostsFile {k}/first {k}/second {k}/third": "third",
    "GlobalKnownHostsFile {k}/all": "all",
    'RevokedHostKeys "{k}/revoked keys"': "revoked keys",
    "KnownHostsCommand /bin/cat {k}/said": "said",
    "SecurityKeyProvider {k}/sk.so": "sk.so",
    "PKCS11Provider {k}/p11.so": "p11.so",
    "ProxyCommand {k}/proxy %h %p": "proxy",
    "ProxyCommand ssh -W %h:%p -i {k}/hop-key hop": "hop-key",
    "ProxyJump hop": "of hop",
    "ProxyJump other,someone@hop:2222": "of hop",
    "Compression yes": "../ssh_config",
}


def tell(sshd: Sshd, caller: TransportCaller, line: str) -> str:
    """Return what a login rests on, with one line more in the configuration."""
    keys = sshd.folder / "keys"
    hop = f'\nHost hop\n    IdentityFile "{keys}/of hop"\n'
    said = line.replace("{k}", str(keys))
    before = f"Host {sshd.alias}\n    {said}\n{hop}"
    sshd.write_client_config(before=before)
    return transports.digest_credentials(caller.identity)


@pytest.mark.parametrize("line", FILES)
def test_each_file_of_a_login_counts(
    sshd: Sshd, caller: TransportCaller, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = sshd.folder / "keys"
    keys.mkdir()
    monkeypatch.setenv("SJ_DIR", str(keys))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    said = subprocess.run(
        ["ssh", "-F", sshd.config, "-o", "ControlPath=/%C", "-G", "box"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    name = FILES[line].format(
        port=sshd.port,
        uid=os.geteuid(),
        user=subprocess.check_output(["id", "-un"], text=True).strip(),
        hash=said.split("controlpath /")[-1].split()[0],
    )
    before = tell(sshd, caller, line)
    assert transports.digest_credentials(caller.identity) == before
    if name == "../ssh_config":
        with open(sshd.config, "a", encoding="utf-8") as config:
            config.write("    KexAlgorithms +diffie-hellman-group14-sha1\n")
    else:
        (keys / name).write_text("one")
    after = transports.digest_credentials(caller.identity)
    assert after != before
    if name != "../ssh_config":
        shutil.copystat(sshd.key, keys / name)
        assert (
            transports.digest_credentials(caller.identity) != after
        ), "a new mode, new times"


def test_paths_are_those_that_ssh_makes_of_them() -> None:
    home = os.path.expanduser("~root")
    values = {"hostname": ["h"], "port": ["7"], "user": ["u"]}
    files = list_login_files(
        values | {"identityfile": ["~root/a-%h", "~/b"]}, "me@alias"
    )
    assert f"{home}/a-h" in files and f"{home}/a-h-cert.pub" in files
    assert not [name for name in files if "~" in name]
    for said, path in {"none": (), "SSH_AUTH_SOCK": ("$SSH_AUTH_SOCK",)}.items():
        assert list_agent_paths({"identityagent": [said]}, "a") == path
    assert list_agent_paths({"identityagent": ["~root/%n"]}, "x@a") == (f"{home}/a",)


@pytest.mark.parametrize("option", ["$SJ_AGENT", "${SJ_AGENT}", "{path}"])
def test_an_agent_that_is_named_counts(
    sshd: Sshd, caller: TransportCaller, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sshd.folder / "an agent"
    monkeypatch.setenv("SJ_AGENT", str(path))
    one = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        until(path.exists)
        option = option.replace("{path}", f'"{path}"')
        before = tell(sshd, caller, f"IdentityAgent {option}")
        add_key(path, sshd.key)
        assert transports.digest_credentials(caller.identity) != before
    finally:
        one.terminate()
        one.wait()


def _sign(ca: Path, key: Path, user: str, span: str) -> None:
    subprocess.run(
        ["ssh-keygen", "-qs", ca, "-I", "x", "-n", user, "-V", span, f"{key}.pub"],
        check=True,
        capture_output=True,
    )


def test_a_renewed_certificate_is_tried(new_box: Callable[..., Cli]) -> None:
    cli = new_box(AuthorizedKeysFile="none", TrustedUserCAKeys="/tmp/none")
    sshd = cli.sshd
    assert sshd is not None
    ca = sshd.folder / "ca"
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", ca], check=True)
    sshd.restart(TrustedUserCAKeys=f"{ca}.pub")
    _sign(ca, sshd.key, sshd.user, "-2d:-1d")
    for _ in range(2):
        assert cli("submit", "box", "--", "true").status == 77
    assert sshd.connections == 1
    _sign(ca, sshd.key, sshd.user, "-1d:+1d")
    cli.submit("--", "true")
    assert sshd.connections == 2


@pytest.mark.skipif(
    not is_here() and os.environ.get("CI") != "true",
    reason="no Kerberos here: apt-get install krb5-kdc krb5-admin-server krb5-user",
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root's sshd has a keytab")
def test_a_new_ticket_in_the_same_cache_is_tried(
    new_box: Callable[..., Cli], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place / "kdc"
    folder.mkdir()
    with Kdc(folder) as kdc:
        monkeypatch.setenv("KRB5_CONFIG", kdc.env["KRB5_CONFIG"])
        monkeypatch.setenv("KRB5_KTNAME", str(kdc.keytab("host/localhost")))
        cli = new_box(
            GSSAPIAuthentication="yes",
            GSSAPIStrictAcceptorCheck="no",
            PubkeyAuthentication="no",
        )
        sshd = cli.sshd
        assert sshd is not None
        kdc.add_user(sshd.user, "secret")
        cache = str(folder / "cache")
        cli.env |= kdc.env | {"KRB5CCNAME": cache}
        key = (sshd.folder / "host.pub").read_text()
        sshd.known_hosts.write_text(f"[localhost]:{sshd.port} {key}")
        first = "Host box\n    HostName localhost\n    GSSAPIAuthentication yes\n"
        sshd.write_client_config(before=first)
        for _ in range(2):
            assert cli("submit", "box", "--", "true").status == 77
        assert sshd.connections == 1
        kdc.kinit(sshd.user, "secret", cache)
        cli.submit("--", "true")
        assert sshd.connections == 2
        assert "Accepted gssapi-with-mic" in sshd.text
        # The login has put a ticket for the host beside it, which is no person's act.
        monkeypatch.setenv("KRB5CCNAME", cache)
        cli.ok("disconnect", "box")
        sshd.restart(GSSAPIAuthentication="no")
        for _ in range(2):
            assert cli("submit", "box", "--", "true").status == 77
        assert sshd.connections == 3
