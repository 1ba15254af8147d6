"""Identities: the connection that a HOST means, and the files that a login rests on.

:mod:`.ssh_config` asks ``ssh -G``; :mod:`.fingerprint` keys the values that tell one
connection from another; :mod:`.identity` has the record itself, with its socket's path;
:mod:`.credentials` digests keys, agent and known hosts, so that a refusal is remembered
for the credentials that were refused.
"""
