"""Breaks the service on purpose while calls go on; afterwards nothing is lost, nothing is twice.

python -m tests.chaos [--seed N] [--only NAME]... [--kills N] [--minutes M] [--keep]
"""
