"""Mutants of the pure floors: small faults that a module's own tests should notice.

``inv mutate MODULE`` makes them (:mod:`.operators`), runs the module's own tests on
each (:mod:`.runner`), and shows those that no test noticed. The tree is never changed:
a mutant lives in the memory of the one process that runs the tests on it. Why this is
no library: docs/decisions/0017-mutants-are-made-here.md.
"""
