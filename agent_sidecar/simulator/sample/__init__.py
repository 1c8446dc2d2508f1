"""Calls of our own: one with audio that the demo plays, and earlier ones to learn from first.

Invented people and numbers; `bench/make_sample_audio.py` in the repository makes the audio.
"""

from pathlib import Path

CALL = Path(__file__).parent / "call.jsonl"
HISTORY = Path(__file__).parent / "history.jsonl"
