"""What makes two names one connection, and what does not."""

from __future__ import annotations

import pytest

from sshjobs.transports.env import read_home
from sshjobs.transports.identity.fingerprint import (
    digest_values,
    expand_tilde,
    list_telling_values,
)

BASE = {"hostname": ["h"], "user": ["u"], "port": ["22"]}


def key(**values: str) -> str:
    """Return the key of a host with some values more."""
    more = {name: [value] for name, value in values.items()}
    return digest_values(BASE | more, "alias", "", ())


@pytest.mark.parametrize(
    "values",
    [
        {"proxyjump": "none"},
        {"stricthostkeychecking": "ask"},
        {"pubkeyauthentication": "true"},
        {"verifyhostkeydns": "false"},
        {"userknownhostsfile": f"{read_home()}/.ssh/known_hosts ~/.ssh/known_hosts2"},
        {"connecttimeout": "3"},
    ],
)
def test_what_is_so_by_itself_tells_nothing(values: dict[str, str]) -> None:
    assert key(**values) == key()


@pytest.mark.parametrize(
    "values",
    [
        {"proxyjump": "hop"},
        {"port": "2022"},
        {"identityfile": "~/.ssh/id_rsa"},
        {"hostkeyalias": "x"},
        {"userknownhostsfile": "/tmp/known"},
        {"stricthostkeychecking": "no"},
    ],
)
def test_what_was_said_tells(values: dict[str, str]) -> None:
    assert key(**values) != key()


def test_list_of_default_keys_is_no_choice_in_any_version() -> None:
    names = [f"~/.ssh/id_{kind}" for kind in ("rsa", "ecdsa", "ecdsa_sk", "ed25519")]
    assert "identityfile" not in list_telling_values({"identityfile": names})
    assert "identityfile" in list_telling_values({"identityfile": [*names, "/k"]})


def test_one_value_is_written_in_one_way() -> None:
    assert key(stricthostkeychecking="false") == key(stricthostkeychecking="off")
    assert key(proxycommand="nc %h %p") == key(proxycommand="nc h 22")
    assert key(identityfile="~/k") == key(identityfile=f"{read_home()}/k")


def test_name_as_typed_counts_only_where_it_is_used() -> None:
    said = BASE | {"proxycommand": ["nc %n 22"]}
    assert digest_values(said, "one", "", ()) != digest_values(said, "two", "", ())
    assert digest_values(BASE, "one", "", ()) == digest_values(BASE, "two", "", ())


def test_tilde_is_home_only_where_a_word_begins() -> None:
    assert expand_tilde('~/a "~/b" c~/d') == f'{read_home()}/a "{read_home()}/b" c~/d'
