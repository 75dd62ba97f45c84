"""Settings for all tests."""

from hypothesis import settings

settings.register_profile("homework", deadline=None)  # a busy machine is not a failed test
settings.load_profile("homework")
