"""A moment of the frame fuzzer, and what it has found so far; longer: `make fuzz`."""

import tracemalloc
from random import Random

import pytest

from agent_sidecar.domain.audio import G711
from agent_sidecar.domain.listener import Listener
from agent_sidecar.domain.media import MediaFrame
from agent_sidecar.domain.types import Track
from tests.fuzz.frames import FrameFuzz, Numbering


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_the_frames_are_the_call_is_heard_on(seed: int):
    account = FrameFuzz(seed).run(1.5)
    assert account.failures == []
    assert account.executions > 500


def a_listener() -> Listener:
    return Listener(
        {"inbound": G711.ulaw(), "outbound": G711.ulaw()},
        start_s=0.0,
        parties={"inbound": "prospect", "outbound": "agent"},
    )


def test_no_numbering_makes_a_call_grow():
    listener, numbering = a_listener(), Numbering(Random(3))  # noqa: S311  # seeded on purpose
    payload = bytes(range(160))

    def hear(count: int) -> None:
        for place in range(count):
            track: Track = "inbound" if place % 2 else "outbound"
            listener.receive(MediaFrame(track, numbering.next(), payload))

    hear(2000)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        hear(3000)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 5e6
    # a gap of a minute is 2 MB of samples, and some times that while it is measured
    assert peak - before < 60e6


@pytest.mark.parametrize("chunks", [(0, 2**63), (2**63, 0), (7, 10**9)])
def test_two_frames_of_two_numberings_are_no_endless_gap(chunks: tuple[int, int]):
    listener = a_listener()
    for chunk in chunks:
        listener.receive(MediaFrame("inbound", chunk, b"\x00" * 160))
    listener.flush()
    assert listener.heard_s < 61.0


def test_payloads_of_odd_lengths_between_losses_are_heard():
    listener = a_listener()
    for chunk in (*range(1, 40), *range(50, 60), *range(75, 120)):
        listener.receive(MediaFrame("inbound", chunk, b"\x00" * (150 + chunk % 23)))
    listener.flush()
    assert listener.heard_s == pytest.approx(119 * 0.02, abs=0.1)
