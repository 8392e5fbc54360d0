"""What all tests share: how hypothesis runs."""

from hypothesis import settings

settings.register_profile("replicator", deadline=None, print_blob=True)
settings.load_profile("replicator")
