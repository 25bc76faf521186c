"""Settings of all tests: a time limit on single examples would fail by what else the machine is doing."""

from hypothesis import settings

settings.register_profile("foretell", deadline=None)
settings.load_profile("foretell")
