"""Writes recorded calls, invented for these tests."""

import json
from collections.abc import Sequence
from pathlib import Path

_TALK = (
    ("agent", "Hello, this is the assistant of Green Harbour, is this a good moment"),
    ("prospect", "I am rather busy, what is it about"),
    ("agent", "You asked us how people earn something beside their work"),
    ("prospect", "Right, but is this one of those pyramid schemes"),
    ("agent", "Nobody is paid for bringing in others, you can read that in the contract"),
    ("prospect", "That sounds better, how much would I need to pay at the start"),
    ("agent", "Ninety nine dollars, and you get it back within thirty days"),
    ("prospect", "I would have to talk to my wife before I decide anything"),
    ("agent", "Of course, what would she want to know first"),
    ("prospect", "She would ask how many hours a week this takes"),
)


def talk(call: int, lines: int) -> list[tuple[str, str]]:
    """Return a conversation in which every line says which call and line it is."""
    said = []
    for index in range(lines):
        speaker, text = _TALK[index % len(_TALK)]
        said.append((speaker, f"{text}, {call} dash {index}."))
    return said


def write_calls(path: Path, *, calls: int, lines: int, name: str = "e2e") -> list[str]:
    """Write a file of so many calls; return their ids."""
    ids = []
    with path.open("w") as file:
        for number in range(calls):
            call_id = f"{name}-{number}"
            ids.append(call_id)
            segments = [{"speaker": who, "text": text} for who, text in talk(number, lines)]
            recorded = {
                "call_id": call_id,
                "lead": {"external_id": f"{name}-lead-{number}", "first_name": "Pat"},
                "segments": segments,
                "outcome": {"success": False, "final_status": "abandoned"},
            }
            file.write(json.dumps(recorded) + "\n")
    return ids


def write_won_calls(path: Path, *, calls: int, name: str) -> list[str]:
    """Write finished calls in which one strategy answered one objection, and won."""
    segments: Sequence[dict[str, str]] = [
        {"speaker": "agent", "text": "Hello, you asked us about working from home."},
        {"speaker": "prospect", "text": "Wait. Is this one of those pyramid schemes?"},
        {
            "speaker": "agent",
            "text": "You may be afraid of that. Nobody here is paid for bringing in others.",
            "strategy": "name-the-fear",
        },
        {"speaker": "prospect", "text": "Oh good, I love that, this sounds really great!"},
    ]
    ids = []
    with path.open("w") as file:
        for number in range(calls):
            call_id = f"{name}-{number}"
            ids.append(call_id)
            recorded = {
                "call_id": call_id,
                "started_at": f"2026-03-0{number + 1}T15:00:00Z",
                "lead": {"external_id": f"{name}-lead-{number}", "first_name": "Sam"},
                "segments": segments,
                "outcome": {"success": True, "final_status": "hot_transfer"},
            }
            file.write(json.dumps(recorded) + "\n")
    return ids
