"""The verbs of sshjobs as plain functions that print nothing, a verb a file.

Each takes a :class:`.context.Context` and returns jobs. A verb writes its wishes
into the store before any contact, then waits until a round has served it
(:meth:`.rounds.Coordinator.wait_for`), whichever process leads that round. Verbs that
span hosts work on them side by side (``fanout.py``), so that a dead host costs its own
bound and delays no other.

This package re-exports nothing: a process lives for fifty milliseconds, and imports
the modules of its one verb only.
"""
