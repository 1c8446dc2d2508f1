"""Nonsense at every door: seeded, so that what was found can be found again.

`tests/flow/test_fuzz_*.py` run each of these for a moment; `python -m tests.fuzz` for as long as
one likes.
"""
