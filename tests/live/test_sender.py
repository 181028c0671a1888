"""The lanes on which commands leave: their order, what waits for them, and what a stop leaves."""

from __future__ import annotations

import asyncio

import pytest

from candlewick.engine import Cancel, Submit
from candlewick.live.sender import Command, Sender
from candlewick.models import Order, OrderType, Side


def order(number: int, symbol: str = "BTCUSDT", *, exit_: bool = False) -> Order:
    purpose = "close" if exit_ else "entry"
    name = f"cw-run-{number:06}-{purpose}"
    return Order(name, symbol, Side.BUY, OrderType.MARKET, 1.0, reduce_only=exit_)


class Venue:
    """Carries a command when it is let."""

    def __init__(self) -> None:
        self.carried: list[str] = []
        self.withdrawn: list[str] = []
        self.errors: list[BaseException] = []
        self.gate = asyncio.Event()
        self.raises = False
        self.sender = Sender(self.carry, self.withdraw, self.errors.append)

    async def carry(self, command: Command) -> None:
        await self.gate.wait()
        if self.raises:
            raise RuntimeError("the venue is broken")
        self.carried.append(command.order.client_id)

    def withdraw(self, withdrawn: Order) -> None:
        self.withdrawn.append(withdrawn.client_id)


@pytest.fixture
def venue() -> Venue:
    return Venue()


async def test_commands_of_a_lane_leave_in_their_order_and_draining_waits_for_all(
    venue: Venue,
) -> None:
    for number in range(5):
        venue.sender.put(Submit(order(number, exit_=True)))
    draining = asyncio.create_task(venue.sender.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    venue.gate.set()
    async with asyncio.timeout(30):
        await draining
    assert venue.carried == [order(number, exit_=True).client_id for number in range(5)]
    venue.sender.put(Submit(order(9, exit_=True)))  # a lane that has slept goes on
    async with asyncio.timeout(30):
        await venue.sender.drain()
    assert venue.carried[-1] == order(9, exit_=True).client_id
    await venue.sender.stop()


async def test_an_exit_does_not_wait_for_an_entry(venue: Venue) -> None:
    venue.sender.put(Submit(order(1)))
    await asyncio.sleep(0)
    venue.sender.put(Submit(order(2, exit_=True)))
    venue.sender.put(Submit(order(3)))
    venue.sender.put(Cancel(order(3), 0))  # its turn has not come
    assert venue.withdrawn == [order(3).client_id]
    venue.gate.set()
    async with asyncio.timeout(30):
        await venue.sender.drain()
    assert sorted(venue.carried) == [order(1).client_id, order(2, exit_=True).client_id]
    await venue.sender.stop()


async def test_what_the_venue_raises_stops_the_system_and_not_the_lane(venue: Venue) -> None:
    venue.gate.set()
    venue.raises = True
    venue.sender.put(Submit(order(1)))
    async with asyncio.timeout(30):
        await venue.sender.drain()
        assert [str(error) for error in venue.errors] == ["the venue is broken"]
        venue.raises = False
        venue.sender.put(Submit(order(2)))
        await venue.sender.drain()
    assert venue.carried == [order(2).client_id]
    await venue.sender.stop()


async def test_a_stop_lets_nobody_wait_for_what_is_not_sent(venue: Venue) -> None:
    for number in range(3):
        venue.sender.put(Submit(order(number)))
    draining = asyncio.create_task(venue.sender.drain())
    await asyncio.sleep(0)
    await venue.sender.stop()
    async with asyncio.timeout(30):
        await draining
    assert not venue.carried
