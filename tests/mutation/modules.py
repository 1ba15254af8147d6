"""Which tests are a module's own: only these are run on its mutants.

What only a real sshd can pin is no part of them, and each test file says so. A module
is named as below ``sshjobs/``, with dots.
"""

from __future__ import annotations

#: Those of what a reply changes in the store.
APPLY = (
    "test_apply.py",
    "test_settled_events.py",
    "test_apply_orders.py",
    "test_two_logs.py",
)

#: The modules that ``inv mutate`` runs, and the files of their own tests in ``tests/``.
OWN_TESTS: dict[str, tuple[str, ...]] = {
    "locks": (
        "test_file_lock.py",
        "test_locks.py",
        "test_lock_waits.py",
        "test_lock_ends.py",
    ),
    "protocol.events": ("test_frames.py",),
    "protocol.files": ("test_protocol_files.py",),
    "protocol.frames": ("test_frames.py", "test_two_logs.py"),
    "protocol.launched": ("test_launched.py",),
    "protocol.program": ("test_program.py", "test_two_logs.py"),
    "protocol.reply": ("test_reply.py", "test_two_logs.py"),
    "protocol.request": ("test_protocol_request.py", "test_two_logs.py"),
    "protocol.watch_reply": ("test_watch_reply.py",),
    "quoting": ("test_quoting.py",),
    "rounds.apply": APPLY,
    "rounds.apply_ends": APPLY,
    "rounds.apply_reaps": APPLY,
    "rounds.apply_starts": APPLY,
    "rounds.changes": APPLY,
    "rounds.cooldown": ("test_retry.py",),
    "rounds.log_state": ("test_log_state.py", "test_two_logs.py"),
    "rounds.needs": ("test_needs.py",),
    "rounds.request": ("test_round_request.py", "test_two_logs.py"),
    "rounds.retry": ("test_retry.py",),
    "store.intents": ("test_intents.py",),
    "states": ("test_states.py",),
    "transports.openssh.mux": ("test_mux.py",),
    "transports.ssh_errors": ("test_ssh_errors.py",),
}

#: Of a module's mutants so many percent must be noticed, those that change nothing
#: apart, of which there may be so many.
LEAST_KILLED = 90
MOST_EQUIVALENT = 5


def find_modules(words: list[str]) -> list[str]:
    """Return the modules of these names; ``protocol`` means all below it.

    Raises:
        LookupError: one that has no tests of its own here.
    """
    found: list[str] = []
    for word in words:
        name = word.removeprefix("sshjobs/").removesuffix(".py").replace("/", ".")
        named = [one for one in OWN_TESTS if one == name or one.startswith(f"{name}.")]
        named = named or [one for one in OWN_TESTS if one.endswith(f".{name}")]
        if not named:
            raise LookupError(f"{word}: none of {', '.join(OWN_TESTS)}")
        found += named
    return list(dict.fromkeys(found)) if words else list(OWN_TESTS)
