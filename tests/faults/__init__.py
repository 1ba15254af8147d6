"""Random schedules of verbs and faults, each followed by the rules of the house.

``inv faults --schedules N [--seed S] [--jobs J]`` runs them; a seed replays one
schedule, ``python -m tests.faults --seed S --schedules 1 --verbose --keep`` with every
step said and all files kept.
"""
