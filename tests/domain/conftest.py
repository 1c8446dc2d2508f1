"""How hypothesis runs here: on a busy machine a slow example is no failure."""

from hypothesis import settings

settings.register_profile("domain", deadline=None, max_examples=50)
settings.load_profile("domain")
