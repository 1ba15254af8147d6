"""Hostile input, made from real recordings and from nothing: ``inv fuzz --seconds N``.

Theory of operation: a *target* makes a case from a number and a seed, tries it, and
says what rule it broke, if one. Targets take turns until the time is over. Each works
as an ordinary user (where we may be root) in a directory of its own; a *canary* is a
tree of files beside it in which nothing may ever change. A case that breaks a rule is
made smaller while it still breaks one, and is printed with what repeats it:

    python -m tests.fuzz --seed S --target T --case N

Cases depend on the seed alone. What they begin with are replies of the real program
(``tests/data/replies``, made by ``python -m tests.fuzz --record``), real texts of ssh
(``tests/data/ssh_stderr``), and records and stores that are made on the spot.
"""
