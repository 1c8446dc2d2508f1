import asyncio

from agent_sidecar.domain.types import CallId
from agent_sidecar.live.hub import QUEUE, Hub, Message, Subscription

ONE, TWO = CallId("c1"), CallId("c2")


def a_message(call_id: CallId, number: int) -> Message:
    return {"type": "score", "call_id": call_id, "call_control_id": f"v3:{call_id}", "n": number}


async def read(listener: Subscription, messages: int) -> list[object]:
    return [(await anext(listener)).get("n") for _ in range(messages)]


async def test_everybody_who_listens_hears_everything_in_order():
    hub = Hub()
    async with hub.subscribe() as one, hub.subscribe() as two:
        for number in range(3):
            hub.publish(ONE, a_message(ONE, number))
        assert await read(one, 3) == await read(two, 3) == [0, 1, 2]


async def test_one_may_listen_to_one_call_by_its_id_or_its_leg():
    hub = Hub()
    async with hub.subscribe("c1") as by_id, hub.subscribe("v3:c1") as by_leg:
        hub.publish(TWO, a_message(TWO, 1))
        hub.publish(ONE, a_message(ONE, 2))
        assert await read(by_id, 1) == await read(by_leg, 1) == [2]


async def test_a_listener_waits_for_what_comes():
    hub = Hub()
    async with hub.subscribe() as listener:
        reading = asyncio.create_task(read(listener, 2))
        await asyncio.sleep(5)
        hub.publish(ONE, a_message(ONE, 1))
        await asyncio.sleep(5)
        hub.publish(ONE, a_message(ONE, 2))
        assert await reading == [1, 2]


async def test_a_slow_listener_loses_the_oldest_and_is_told_how_many():
    hub = Hub()
    async with hub.subscribe() as slow, hub.subscribe() as quick:
        heard = asyncio.create_task(read(quick, QUEUE + 5))
        for number in range(QUEUE + 5):
            hub.publish(ONE, a_message(ONE, number))
            await asyncio.sleep(0)
        assert await heard == list(range(QUEUE + 5))
        assert await anext(slow) == {"type": "dropped", "count": 5}
        assert await read(slow, QUEUE) == list(range(5, QUEUE + 5))


async def test_who_has_left_is_told_nothing_more():
    hub = Hub()
    async with hub.subscribe() as listener:
        pass
    hub.publish(ONE, a_message(ONE, 1))
    assert not listener._queue
    assert not hub._subscriptions


async def test_messages_go_on_to_other_processes():
    onward: list[tuple[CallId, Message]] = []
    hub = Hub(onward=lambda call_id, message: onward.append((call_id, message)))
    hub.publish(ONE, a_message(ONE, 1))
    assert onward == [(ONE, a_message(ONE, 1))]
