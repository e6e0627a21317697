"""Two processes of one deployment, over one table."""

import pytest

from fareway.aws import Aws
from fareway.breaker import Breakers
from fareway.circuits import Circuits

NAMES = ("one", "one/a", "two")


class World:
    def __init__(self, table):
        self.table, self.time, self.made = table, 1_000.0, []

    async def process(self):
        """A process whose own clock began at another time than the others'."""
        begun = 10.0 * len(self.made)
        circuits = Circuits(
            Breakers(2, 15.0),
            Aws(),
            self.table,
            NAMES,
            budget_s=5,
            clock=lambda: self.time - begun,
            now=lambda: self.time,
        )
        self.made.append(circuits)
        return circuits

    async def opened(self):
        """A process that found `one/a` down."""
        circuits = await self.process()
        assert [circuits.failed("one/a"), circuits.failed("one/a")] == [False, True]
        await circuits.settled()
        return circuits

    async def refreshed(self, circuits):
        self.time += circuits.fresh_s
        circuits.refresh()
        await circuits.settled()


@pytest.fixture
async def world(aws, table):
    world = World(table("circuits", "circuit"))
    yield world
    for circuits in world.made:
        await circuits.aws.close()


async def test_what_one_process_found_down_rests_in_the_others(world):
    await world.opened()
    other = await world.process()
    await world.refreshed(other)
    assert not await other.allows("one/a")
    assert await other.allows("one")
    assert await other.allows("two")


async def test_the_table_is_read_at_most_every_few_seconds(world):
    other = await world.process()
    await world.refreshed(other)
    await world.opened()
    other.refresh()
    await other.settled()
    assert await other.allows("one/a")  # not known yet
    await world.refreshed(other)
    assert not await other.allows("one/a")


async def test_after_the_cooldown_one_process_alone_probes(world):
    first, second = await world.opened(), await world.process()
    await world.refreshed(second)
    world.time += 15
    assert sorted([await first.allows("one/a"), await second.allows("one/a")]) == [False, True]


async def test_a_probe_that_succeeds_closes_it_for_all(world):
    first, second = await world.opened(), await world.process()
    await world.refreshed(second)
    world.time += 15
    assert await first.allows("one/a")
    first.succeeded("one/a")
    await first.settled()
    await world.refreshed(second)
    assert await second.allows("one/a")


async def test_a_probe_that_fails_keeps_it_open_for_all(world):
    first, second = await world.opened(), await world.process()
    world.time += 15
    assert await first.allows("one/a")
    assert first.failed("one/a")
    await first.settled()
    await world.refreshed(second)
    assert not await second.allows("one/a")
    world.time += 15
    assert await second.allows("one/a")


async def test_without_the_table_each_knows_what_it_found_itself(world, logged):
    world.table = "not-there"
    circuits = await world.opened()
    assert not await circuits.allows("one/a")
    await world.refreshed(circuits)
    world.time += 15
    assert await circuits.allows("one/a")
    assert {line["message"] for line in logged()} == {"circuit table unavailable"}


async def test_what_a_probe_writes_is_forgotten_in_time(world):
    circuits = await world.process()
    for _ in range(2):
        circuits.breakers.failed("one/a", circuits.clock())  # what the table never heard of
    world.time += 15
    assert await circuits.allows("one/a")
    client = await circuits.aws.client("dynamodb")
    item = (await client.get_item(TableName=world.table, Key={"circuit": {"S": "one/a"}}))["Item"]
    assert float(item["expires_at"]["N"]) > world.time
