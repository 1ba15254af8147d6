"""The values of an ssh configuration that tell one connection from another.

The values come from ``ssh -G`` or, where there is no ssh, from Fabric's reading of the
same files. A value that nobody has set tells nothing and is left out, since versions
differ in their defaults; the others are written in one way.
"""

from __future__ import annotations

import hashlib
import json
import re

from ...startup.records import TYPE_CHECKING
from ..env import read_home, read_user_name
from ..login_files import expand_environment
from .identity import KEY_LENGTH

if TYPE_CHECKING:
    from collections.abc import Mapping


#: Names as ``ssh -G`` prints them (8.0 to 10.5).
NAMES = (
    "hostname user port addressfamily bindaddress bindinterface proxyjump "
    "proxycommand proxyusefdpass identityfile identityagent identitiesonly "
    "certificatefile hostkeyalias userknownhostsfile globalknownhostsfile "
    "knownhostscommand stricthostkeychecking verifyhostkeydns "
    "nohostauthenticationforlocalhost pkcs11provider securitykeyprovider "
    "preferredauthentications pubkeyauthentication passwordauthentication "
    "kbdinteractiveauthentication hostbasedauthentication gssapiauthentication "
    "gssapidelegatecredentials gssapiclientidentity gssapiserveridentity"
).split()

#: What each of them is where nobody said anything (ssh_config(5), 9.2).
_DEFAULTS = {
    "addressfamily": "any",
    "gssapiauthentication": "no",
    "gssapidelegatecredentials": "no",
    "hostbasedauthentication": "no",
    "identitiesonly": "no",
    "kbdinteractiveauthentication": "yes",
    "nohostauthenticationforlocalhost": "no",
    "passwordauthentication": "yes",
    "proxycommand": "none",
    "proxyjump": "none",
    "proxyusefdpass": "no",
    "pubkeyauthentication": "yes",
    "securitykeyprovider": "internal",
    "stricthostkeychecking": "ask",
    "userknownhostsfile": "~/.ssh/known_hosts ~/.ssh/known_hosts2",
    "globalknownhostsfile": "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2",
    "verifyhostkeydns": "no",
}

#: Keys that every ssh looks for unless it is told others; the list shrank in 10.0.
_KEYS = re.compile(r"~/\.ssh/id_(rsa|dsa|ecdsa|ecdsa_sk|ed25519|ed25519_sk|xmss)")

_WORDS = {"true": "yes", "false": "no", "off": "no"}


def digest_values(
    values: Mapping[str, list[str]],
    target: str,
    config: str,
    options: tuple[str, ...],
) -> str:
    """Return the key of the connection that these values lead to.

    Args:
        target: The host as it was typed.
        config: The path of the configuration, as in ``ssh -F``.
        options: The options given beside it, as in ``ssh -o``.
    """
    # What ssh has made of an option stands in the values: -p 22 is no other host.
    # An option's name ends with = or white space.
    more = [
        option
        for option in options
        if re.split(r"[\s=]", option.strip(), maxsplit=1)[0].lower() not in NAMES
    ]
    said = json.dumps([list_telling_values(values), config, more])
    # %n is the name as typed, and %k falls back on it (ssh_config(5) TOKENS): with
    # either in it, the same text means another thing for another alias.
    typed = target if re.search("%[nk]", said) else ""
    text = json.dumps([expand_environment(said), typed])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[
        :KEY_LENGTH
    ]


def list_telling_values(values: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the values that tell, without those that are at their defaults."""
    # Tokens that mean the same for every alias of a host.
    tokens = {"%d": read_home(), "%u": read_user_name()}
    for token, name in (("%h", "hostname"), ("%p", "port"), ("%r", "user")):
        tokens[token] = (values.get(name) or [token])[-1]
    told = {}
    for name in NAMES:
        # Each in one way of writing.
        words = [_WORDS.get(word, expand_tilde(word)) for word in values.get(name, [])]
        found = [re.sub("%[dhpru]", lambda t: tokens[t[0]], word) for word in words]
        default = _DEFAULTS.get(name)
        if found and not _is_default(name, found, default):
            told[name] = found
    return told


def _is_default(name: str, found: list[str], default: str | None) -> bool:
    if name == "identityfile":
        keys = [re.sub(f"^{re.escape(read_home())}/", "~/", value) for value in found]
        return len(keys) > 2 and all(map(_KEYS.fullmatch, keys))
    return default is not None and found == [expand_tilde(default)]


def expand_tilde(text: str) -> str:
    """Put our home directory for each ``~/`` that begins a word."""
    return re.sub(r"(?:(?<=[\s\"'=])|^)~(?=/)", lambda _: read_home(), text)
