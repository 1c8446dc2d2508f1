from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.amr import LOST_FRAME, storage_frame, unpack

# bits of a frame by its type, RFC 4867, table 1b
BITS = [132, 177, 253, 285, 317, 365, 397, 461, 477, 40]
RECORDINGS = Path(__file__).parents[1] / "amr"

Frame = tuple[int, str, bool]


def octets(bits: str) -> bytes:
    return bytes(int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8))


def bandwidth_efficient(frames: list[Frame], request: int = 15) -> bytes:
    """Write a payload as RFC 4867, section 4.3, draws it, bit by bit."""
    out = f"{request:04b}"
    for place, (kind, _, is_good) in enumerate(frames):
        out += f"{int(place + 1 < len(frames))}{kind:04b}{int(is_good)}"
    return octets(out + "".join(bits for _, bits, _ in frames))


def octet_aligned(frames: list[Frame], request: int = 15) -> bytes:
    """Write a payload as RFC 4867, section 4.4, draws it, bit by bit."""
    out = f"{request:04b}0000"
    for place, (kind, _, is_good) in enumerate(frames):
        out += f"{int(place + 1 < len(frames))}{kind:04b}{int(is_good)}00"
    return octets(out) + b"".join(octets(bits) for _, bits, _ in frames)


def stored(frames: list[Frame]) -> list[bytes]:
    return [
        storage_frame(kind, octets(bits)) if is_good or not bits else LOST_FRAME
        for kind, bits, is_good in frames
    ]


WRITERS = [octet_aligned, bandwidth_efficient]


@st.composite
def a_frame(draw: st.DrawFn) -> Frame:
    kind = draw(st.sampled_from([*range(len(BITS)), 14, 15]))
    length = BITS[kind] if kind < len(BITS) else 0
    number = draw(st.integers(min_value=0, max_value=(1 << length) - 1)) if length else 0
    return kind, f"{number:0{length}b}" if length else "", draw(st.booleans())


@pytest.mark.parametrize("write", WRITERS)
@given(frame=a_frame(), request=st.integers(min_value=0, max_value=15))
def test_a_payload_with_one_frame_is_that_frame(write, frame: Frame, request: int):
    assert unpack(write([frame], request)) == stored([frame])


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("kinds", [(2, 2), (0, 9, 8), (15, 2), (14,), (8,) * 6])
def test_a_payload_may_hold_many(write, kinds: tuple[int, ...]):
    frames = []
    for kind in kinds:
        length = BITS[kind] if kind < len(BITS) else 0
        frames.append((kind, ("1100101" * 80)[:length], True))
    assert unpack(write(frames)) == stored(frames)


@pytest.mark.parametrize("write", WRITERS)
def test_every_frame_of_a_recording_is_found_again(write):
    raw = (RECORDINGS / "prospect.awb").read_bytes().removeprefix(b"#!AMR-WB\n")
    at = count = 0
    while at < len(raw):
        kind = raw[at] >> 3 & 0x0F
        length = BITS[kind] if kind < len(BITS) else 0
        whole = raw[at : at + 1 + (length + 7) // 8]
        bits = "".join(f"{octet:08b}" for octet in whole[1:])[:length]
        assert unpack(write([(kind, bits, True)])) == [whole]
        at += len(whole)
        count += 1
    assert count == 1500


@pytest.mark.parametrize("write", WRITERS)
def test_a_damaged_frame_is_a_lost_one(write):
    good, damaged = (2, "10" * 126 + "1", True), (2, "01" * 126 + "0", False)
    assert unpack(write([good, damaged])) == [*stored([good]), LOST_FRAME]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xf0",
        b"\xff" * 33,
        octet_aligned([(2, "1" * 253, True)])[:-1],
        octet_aligned([(2, "1" * 253, True)]) + b"\0",
        bandwidth_efficient([(8, "1" * 477, True)])[:-1],
        # types that are not used
        octet_aligned([(10, "", True)]),
        bandwidth_efficient([(13, "", True)]),
        # a table of contents without an end, and one that nobody fills with a call's frames
        b"\xf0" + b"\xfc" * 30,
        octet_aligned([(15, "", True)] * 51),
        bandwidth_efficient([(15, "", True)] * 51),
        bytes(100_000),
        b"\xf0" + b"\xfc" * 100_000,
    ],
)
def test_what_is_no_payload_is_none(payload: bytes):
    assert unpack(payload) is None


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_frames_are_whole_or_there_are_none(payload: bytes):
    for frame in unpack(payload) or ():
        kind = frame[0] >> 3 & 0x0F
        assert len(frame) == 1 + ((BITS[kind] if kind < len(BITS) else 0) + 7) // 8
