"""`demo`: what a person sees, and that nothing of it stays behind."""

import signal
from pathlib import Path

import pytest

from tests.e2e.sidecar import Sidecar, finish

pytestmark = pytest.mark.e2e


def test_the_demo_plays_a_call_into_four_stores_and_stops_what_it_started(
    tmp_path: Path, models: Path
):
    with Sidecar(tmp_path / "data", models) as sidecar:
        demo = sidecar.run("demo", "--speed", "20")
        assert demo.code == 0, demo.out + demo.err
        assert "▶ hint" in demo.out
        assert "objection: scheme" in demo.out
        for step in (
            "is reserved",
            "is being called",
            "hears his phone ring",
            "picked up",
            "was listened to by machine detection: human residence",
            "pressed 1",
        ):
            assert f"Kevin {step}" in demo.out
        assert "Kevin is talking to Maria" in demo.out
        arrived = [line.split() for line in demo.out.splitlines() if "  delivered " in line]
        assert {name for _, name, *_ in arrived} == {
            *("conversation", "PostgreSQL", "graph", "vectors"),
        }
        # by name and engine
        assert all(len(words) > 2 for words in arrived)
        assert "verify: every record compared with every store: clean" in demo.out
        assert not sidecar.processes_left()


def test_a_demo_that_is_kept_answers_until_it_is_interrupted(sidecar: Sidecar):
    demo = sidecar.open("demo", "--speed", "50", "--keep")
    assert demo.stdout is not None
    lines: list[str] = []
    while "The service goes on at" not in "".join(lines[-1:]):
        lines.append(demo.stdout.readline())
        assert lines[-1], "".join(lines)
    assert any("/v1/calls" in line for line in lines)
    assert sidecar.processes()
    demo.send_signal(signal.SIGINT)
    assert finish(demo).code == 130
    assert not sidecar.processes_left()
