"""Random schedules of verbs and faults, each followed by the rules of the house.

``inv faults --schedules N [--seed S]`` runs them; a seed replays one schedule.
"""
