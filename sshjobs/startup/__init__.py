"""A start of every process: records and library parts that import little."""
