"""The fallback where there is no ssh: one connection by paramiko, through Fabric.

:mod:`.session` is the leader's half, which holds the gate for as long as the connection
lives. :mod:`.owner` is a process of its own that owns the connection and ends with the
leader. :mod:`.login` makes it as ssh would, by :mod:`.config` and
:mod:`.known_hosts`.
"""
