"""Decisions on where jobs go, as pure functions over facts of the record."""
