"""The secure kernel under fire: its own Python, one step at a time, between a model of the monitor and a hostile world.

Between any two steps the normal world may have the core, as an interrupt would give it: it takes pages by force, takes
back what it promised, calls, answers nonsense, moves data. Runs are repeated from their beginning, so a schedule is all
that one needs to see a failure again.
"""
