"""What every test shares: generated cases are the same ones on every host and every run."""

from hypothesis import settings

settings.register_profile("same", derandomize=True, database=None)
settings.load_profile("same")
