"""AMR-WB as it comes in RTP payloads (RFC 4867), taken apart into the frames that decoders take.

A payload is a codec mode request, a table of contents with one entry a frame, and the frames. In
the octet-aligned format each part begins on an octet; in the bandwidth-efficient one nothing does.
SDP says which it is, and a media stream has no SDP: but a payload has the length that its table of
contents says in one of the two only. Interleaving, checksums and robust sorting are not read: they
too would need SDP.
"""

from collections.abc import Sequence

# bits of one frame of 20 ms by frame type (RFC 4867, table 1b; 3GPP TS 26.201): nine speech modes,
# 9 is comfort noise, 14 speech lost, 15 nothing; 10 to 13 are not used
_BITS = {
    0: 132,
    1: 177,
    2: 253,
    3: 285,
    4: 317,
    5: 365,
    6: 397,
    7: 461,
    8: 477,
    9: 40,
    14: 0,
    15: 0,
}
LOST = 14
# of a payload (a second): what is longer is no media frame
_MOST_FRAMES = 50


def storage_frame(kind: int, bits: bytes = b"", *, is_good: bool = True) -> bytes:
    """Return one frame as files have it (RFC 4867, section 5.3): its header octet and its bits."""
    return bytes((kind << 3 | (4 if is_good else 0),)) + bits


LOST_FRAME = storage_frame(LOST, is_good=False)


def unpack(payload: bytes) -> Sequence[bytes] | None:
    """Return the payload's frames, each as a file has it; None: it is no AMR-WB payload.

    A frame that was damaged on its way is one that was lost.
    """
    frames = _octet_aligned(payload)
    return frames if frames is not None else _bandwidth_efficient(payload)


def _octet_aligned(payload: bytes) -> Sequence[bytes] | None:
    entries: list[tuple[int, bool]] = []
    # the low four bits beside the mode request are zero, and so are the low two of an entry
    at, follows = 1, not (payload[0] & 0x0F if payload else 1)
    while follows:
        if at >= len(payload) or payload[at] & 0x03 or not _add(entries, payload[at] >> 2):
            return None
        follows = bool(payload[at] & 0x80)
        at += 1
    frames = []
    for kind, is_good in entries:
        size = (_BITS[kind] + 7) // 8
        frames.append(_frame(kind, payload[at : at + size], is_good=is_good))
        at += size
    return frames if frames and at == len(payload) else None


def _bandwidth_efficient(payload: bytes) -> Sequence[bytes] | None:
    entries: list[tuple[int, bool]] = []
    count, at, follows = 8 * len(payload), 4, True
    # whole: shifting a long integer costs less than going through its bits
    whole = int.from_bytes(payload)
    while follows:
        entry = whole >> max(0, count - at - 6) & 0x3F
        if at + 6 > count or not _add(entries, entry):
            return None
        follows = bool(entry & 0x20)
        at += 6
    if at + sum(_BITS[kind] for kind, _ in entries) + 7 & ~7 != count:
        return None
    frames = []
    for kind, is_good in entries:
        length = _BITS[kind]
        at += length
        bits = whole >> count - at & (1 << length) - 1
        filled = bits << -length % 8
        frames.append(_frame(kind, filled.to_bytes((length + 7) // 8), is_good=is_good))
    return frames


def _add(entries: list[tuple[int, bool]], entry: int) -> bool:
    """Take an entry of the table of contents: F (1 bit), FT (4), Q (1); False: there is none."""
    kind = entry >> 1 & 0x0F
    entries.append((kind, bool(entry & 1)))
    return kind in _BITS and len(entries) <= _MOST_FRAMES


def _frame(kind: int, bits: bytes, *, is_good: bool) -> bytes:
    return storage_frame(kind, bits) if is_good or not bits else LOST_FRAME
