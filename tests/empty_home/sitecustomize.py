"""Tells an interpreter that its account has another home, an empty one.

The host ``local`` takes the home from the system's list of accounts, as a login does,
so that no variable leads away from the real one: whose ~/.bashrc may take a minute,
say much, or fail. See :func:`tests.cli.give_empty_home`.
"""

from __future__ import annotations

import os
import pwd

_look_up = pwd.getpwuid


def _look_up_with_empty_home(uid: int) -> pwd.struct_passwd:
    fields = list(_look_up(uid))
    if uid == os.geteuid():
        fields[5] = os.environ["SJTEST_HOME"]
    return pwd.struct_passwd(fields)


pwd.getpwuid = _look_up_with_empty_home
