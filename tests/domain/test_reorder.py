from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.reorder import ANEW, FIRST, RESTART, WINDOW, TrackOrder


def name(chunk: int) -> bytes:
    return f"frame {chunk}".encode()


def push_all(order: TrackOrder, chunks: list[int]) -> list[bytes | None]:
    out: list[bytes | None] = []
    for chunk in chunks:
        out += order.push(chunk, name(chunk))
        assert len(order._ahead) <= WINDOW
    return out


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[int, list[int]]:
    """Draw a first number, and frames that come up to `WINDOW` places late, the first ones 2."""
    first = draw(st.integers(0, 100_000))
    count = draw(st.integers(1, 80))
    delays = draw(st.lists(st.integers(0, WINDOW), min_size=count, max_size=count))
    delays[0] = min(delays[0], FIRST - 1)
    late = sorted(range(count), key=lambda place: (place + delays[place], place))
    return first, [first + place for place in late]


@given(arrivals())
def test_frames_within_the_window_come_out_in_their_order(drawn):
    first, chunks = drawn
    order = TrackOrder()
    out = [*push_all(order, chunks), *order.flush()]
    assert out == [name(chunk) for chunk in range(first, first + len(chunks))]
    assert (order.lost, order.late, order.repeated) == (0, 0, 0)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=300))
def test_whatever_comes_every_place_is_filled_once_and_every_frame_is_accounted_for(chunks):
    order = TrackOrder()
    out = [*push_all(order, chunks), *order.flush()]
    delivered = [payload for payload in out if payload is not None]
    assert len(set(delivered)) == len(delivered)
    assert len(out) - len(delivered) == order.lost
    assert len(delivered) + order.late + order.repeated == len(chunks)
    first = min(list(dict.fromkeys(chunks))[:FIRST])
    assert all(p in {None, name(first + place)} for place, p in enumerate(out))


def test_a_lost_frame_is_given_up_when_too_many_wait_behind_it():
    order = TrackOrder()
    out = push_all(order, [1, *range(3, 3 + WINDOW)])
    assert out == [name(1)]
    out = list(order.push(3 + WINDOW, name(3 + WINDOW)))
    assert out == [None, *(name(chunk) for chunk in range(3, 4 + WINDOW))]
    assert order.lost == 1
    assert list(order.push(2, name(2))) == []
    assert order.late == 1


def test_a_frame_that_comes_twice_is_heard_once():
    order = TrackOrder()
    assert push_all(order, [1, 3, 3, 2, 2, 1]) == [name(1), name(2), name(3)]
    assert (order.repeated, order.late, order.lost) == (1, 2, 0)


def test_an_empty_payload_is_a_frame_like_any_other():
    order = TrackOrder()
    out = [*order.push(1, b"1"), *order.push(3, b""), *order.push(2, b"2")]
    assert out == [b"1", b"2", b""]


def test_a_new_numbering_far_above_or_below_goes_on_without_a_gap():
    order = TrackOrder()
    up, down = 10 + RESTART + 5, 2
    out = push_all(order, [10, 12, up, up + 1, down, down + 1])
    assert out == [
        name(10),
        None,
        name(12),
        name(up),
        name(up + 1),
        name(down),
        name(down + 1),
    ]
    assert order.lost == 1


def test_a_stray_number_costs_no_more_than_itself():
    order = TrackOrder()
    stray = 10 * RESTART
    assert push_all(order, [1, 2, stray, 3, 4]) == [name(n) for n in (1, 2, stray, 3, 4)]
    assert order.lost == 0


def test_what_waits_is_flushed_with_its_gaps():
    order = TrackOrder()
    assert push_all(order, [1, 3, 6]) == [name(1)]
    assert list(order.flush()) == [None, name(3), None, None, name(6)]
    assert order.lost == 3
    assert list(order.flush()) == []


def test_what_waits_when_the_stream_ends_may_be_of_two_numberings():
    order = TrackOrder()
    out = [*order.push(0, b"old"), *order.push(2**63, b"new"), *order.flush()]
    assert out == [b"old", b"new"]
    assert order.lost == 0


def test_the_first_frames_may_come_in_disorder_and_twice():
    order = TrackOrder()
    assert push_all(order, [3, 3, 1]) == []
    assert order.waiting == 3
    assert push_all(order, [2, 4]) == [name(n) for n in (1, 2, 3, 4)]
    assert (order.repeated, order.late, order.lost, order.waiting) == (1, 0, 0, 0)


def test_fewer_frames_than_begin_an_order_are_flushed():
    order = TrackOrder()
    push_all(order, [7, 5])
    assert list(order.flush()) == [name(5), None, name(7)]
    assert order.lost == 1


@given(
    at=st.integers(ANEW + WINDOW + 1, RESTART - 10),
    delays=st.lists(st.integers(0, WINDOW // 2), min_size=60, max_size=60),
)
def test_a_new_numbering_below_is_found_and_nothing_of_it_is_lost(at, delays):
    order = TrackOrder()
    old = list(range(at, at + 10))
    new = [
        1 + place for place in sorted(range(60), key=lambda place: (place + delays[place], place))
    ]
    out = [*push_all(order, [*old, *new]), *order.flush()]
    assert out == [name(chunk) for chunk in (*old, *range(1, 61))]
    assert (order.lost, order.late, order.repeated) == (0, 0, 0)


def test_late_frames_between_others_are_no_new_numbering():
    order = TrackOrder()
    push_all(order, list(range(1000, 1010)))
    for place in range(2 * ANEW):
        assert push_all(order, [place, 1010 + place]) == [name(1010 + place)]
    assert order.late == 2 * ANEW


def test_late_frames_all_over_are_no_new_numbering():
    order = TrackOrder()
    push_all(order, list(range(1000, 1010)))
    assert push_all(order, [10 * place for place in range(ANEW)]) == []
    assert order.late == ANEW
    assert push_all(order, [1010]) == [name(1010)]
