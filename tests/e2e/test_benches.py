"""Every bench runs, and says on stdout what its programs read: one JSON object with its keys."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

BENCHES = Path(__file__).parent.parent.parent / "bench"


def run(name: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(BENCHES / name), "--quick", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    said: dict[str, Any] = json.loads(line)
    assert said["quick"] is True
    assert said["setting"]["cores"] >= 1
    return said


def test_frame_path_compares_with_the_floor() -> None:
    given = ("--calls", "5,8", "--seconds", "2", "--rounds", "1", "--no-pipecat")
    said = run("frame_path.py", *given)
    assert said["calls"] == 5
    assert [load["calls"] for load in said["loads"]] == [5]  # the smaller load is one
    assert "pipecat_us" not in said
    assert said["voiced_percent"] == 40
    assert said["frames"] >= 2 * 5 * 100 * 2 * 0.9
    assert said["frames_lost"] == 0
    assert said["floor_us"] > 0
    assert said["ours_us"] > 0
    assert said["ratio_floor"] > 0
    assert said["loop_lag_p99_ms"] >= 0


def test_hint_latency_sees_hints_on_the_wire() -> None:
    said = run("hint_latency.py", "--calls", "6", "--seconds", "8", "--history", "0")
    assert said["calls"] == 6
    assert said["finals"] >= 4
    assert said["hints"] >= 1
    assert 0 < said["p50_ms"] <= said["p95_ms"] <= said["p99_ms"] <= said["max_ms"]
    # on the wire is later than inside
    assert said["inside_p50_ms"] <= said["p50_ms"] + 1
    assert said["late"] >= 0
    assert said["ack_p99_ms"] > 0
    assert said["unanswered"] == said["refused_calls"] == said["streams_lost"] == 0
    assert said["frames_sent"] >= 6 * 100 * 8 * 0.9


def test_the_journal_is_measured_alone_and_busy() -> None:
    said = run("journal.py")
    assert {row["what"] for row in said["rows"]} == {"alone", "one", "lines", "busy", "records"}
    assert all(row["p99_ms"] >= row["p50_ms"] > 0 for row in said["rows"])


def test_checks_of_availability_are_measured_and_how_soon_others_know() -> None:
    said = run("availability.py", "--checks", "500", "--changes", "4")
    assert 0 < said["warm_p50_us"] <= said["warm_p99_us"]
    assert 0 < said["copy_p50_ms"] <= said["cold_p99_ms"]
    assert said["first_p50_ms"] > 0
    assert 0 < said["known_p50_ms"] <= said["known_p99_ms"] <= said["known_max_ms"]


def test_of_many_who_want_the_closer_one_gets_him_and_the_others_the_second_best() -> None:
    said = run("transfer.py", "--rounds", "3", "--candidates", "20")
    assert (said["rounds"], said["candidates"]) == (3, 20)
    assert (said["bridged"], said["double_bridged"]) == (3, 0)
    # each is told once: 19 at first, then who came for him who got the closer
    assert said["others"] == said["second_best"] >= 19
    assert 0 < said["p50_ms"] <= said["p99_ms"]


def test_learning_metrics_agree_with_a_recount_to_the_digit() -> None:
    said = run("learning_curve.py", "--days", "12", "--calls", "4")
    assert said["wrong"] == 0
    # after each day, of two processes
    assert said["refreshes"] >= 2 * 12
    assert said["figures"] > 6 * 12
    assert said["scores"] > 12
    assert 0 < said["counted"] < said["records"]
    assert said["corrected"] > 0
    assert said["refresh_p50_ms"] > 0
