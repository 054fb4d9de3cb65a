from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from webhook.cluster.live_reads import BURST, MISSING_LIMIT, PER_SECOND, LiveReads
from webhook.core.lookup import LookupFailedError, LookupOutcome


class Server:
    """Answers a read with the name and the number of reads so far; the clock stands still until a test moves it."""

    def __init__(self, *existing: str) -> None:
        self.existing = set(existing)
        self.reads: list[str] = []
        self.now = 0.0  # as right after the machine's start
        self.go_on: asyncio.Event | None = None
        self.limited = LiveReads(self._fetch, clock=lambda: self.now)

    async def _fetch(self, name: str) -> str:
        self.reads.append(name)
        answer = f"{name} {len(self.reads)}"
        if self.go_on:
            await self.go_on.wait()
        if name not in self.existing:
            raise LookupFailedError("not found", LookupOutcome.NOT_FOUND)
        return answer

    async def outcome(self, name: str) -> str:
        try:
            return await self.limited.read(name)
        except LookupFailedError as error:
            return str(error.outcome)


def run(test: Callable[[Server], Awaitable[None]], *existing: str) -> None:
    async def main() -> None:
        await test(Server(*existing))

    asyncio.run(main())


def test_callers_that_come_during_a_read_wait_and_share_the_next_one() -> None:
    """The answer to the current read may be older than the call."""

    async def test(server: Server) -> None:
        server.go_on = asyncio.Event()
        first = asyncio.create_task(server.outcome("a"))
        await asyncio.sleep(0)
        later = [asyncio.create_task(server.outcome("a")) for _ in range(300)]
        await asyncio.sleep(0)
        server.go_on.set()
        assert await first == "a 1"
        assert set(await asyncio.gather(*later)) == {"a 2"}
        assert server.reads == ["a", "a"]

    run(test, "a")


def test_reads_of_different_names_do_not_wait_for_each_other() -> None:
    async def test(server: Server) -> None:
        server.go_on = asyncio.Event()
        tasks = [asyncio.create_task(server.outcome(name)) for name in "ab"]
        await asyncio.sleep(0)
        assert server.reads == ["a", "b"]
        server.go_on.set()
        await asyncio.gather(*tasks)

    run(test, "a", "b")


def test_a_caller_that_is_cancelled_during_its_read_does_not_cancel_the_others() -> None:
    async def test(server: Server) -> None:
        server.go_on = asyncio.Event()
        first = asyncio.create_task(server.outcome("a"))
        await asyncio.sleep(0)
        other = asyncio.create_task(server.outcome("a"))
        await asyncio.sleep(0)
        first.cancel()
        server.go_on.set()
        assert await other == "a 2"

    run(test, "a")


def test_a_name_that_was_not_found_is_not_read_again_for_two_seconds() -> None:
    async def test(server: Server) -> None:
        for _ in range(3):
            assert await server.outcome("a") == "not_found"
        server.existing.add("a")
        server.now += 1.99
        assert await server.outcome("a") == "not_found"
        assert len(server.reads) == 1
        server.now += 0.01
        assert await server.outcome("a") == "a 2"

    run(test)


def test_the_error_says_that_the_name_was_not_found_a_moment_ago() -> None:
    async def test(server: Server) -> None:
        await server.outcome("a")
        with pytest.raises(LookupFailedError) as caught:
            await server.limited.read("a")
        assert str(caught.value) == "namespace a was not found a moment ago"

    run(test)


def test_a_caller_that_comes_during_the_second_of_two_reads_waits_for_its_end() -> None:
    async def main() -> None:
        gates = [asyncio.Event() for _ in range(3)]
        began: list[int] = []

        async def fetch(name: str) -> int:
            began.append(number := len(began))
            await gates[number].wait()
            return number

        reads = LiveReads(fetch)
        callers = []
        for _ in range(2):
            callers.append(asyncio.create_task(reads.read("a")))
            await asyncio.sleep(0)
        gates[0].set()
        assert await callers[0] == 0
        await asyncio.sleep(0)
        callers.append(asyncio.create_task(reads.read("a")))
        await asyncio.sleep(0)
        assert began == [0, 1]
        for gate in gates:
            gate.set()
        assert await asyncio.gather(*callers) == [0, 1, 2]

    asyncio.run(main())


def test_forged_names_cause_no_more_reads_than_the_limit_and_little_memory() -> None:
    async def test(server: Server) -> None:
        outcomes = [await server.outcome(f"made-up-{number}") for number in range(300)]
        assert outcomes == ["not_found"] * BURST + ["limited"] * (300 - BURST)
        assert len(server.reads) == BURST
        server.now += 1
        assert [await server.outcome(f"later-{number}") for number in range(PER_SECOND + 1)] == [
            *["not_found"] * PER_SECOND,
            "limited",
        ]
        for number in range(2 * MISSING_LIMIT):
            server.now += 1 / PER_SECOND
            await server.outcome(f"slowly-{number}")
        assert len(server.limited._missing) == MISSING_LIMIT
        assert not server.limited._reads

    run(test)


def test_forged_names_do_not_limit_the_reads_of_known_names() -> None:
    async def test(server: Server) -> None:
        for number in range(2 * BURST):
            await server.outcome(f"made-up-{number}")
        for _ in range(BURST):
            await server.limited.read("a", known=True)
        with pytest.raises(LookupFailedError) as caught:
            await server.limited.read("a", known=True)
        assert caught.value.outcome is LookupOutcome.LIMITED
        assert str(caught.value) == "too many reads of namespaces at once"

    run(test, "a")


def test_a_long_rest_allows_no_more_than_the_burst() -> None:
    async def test(server: Server) -> None:
        server.now += 3600
        outcomes = [await server.outcome(f"made-up-{number}") for number in range(BURST + 1)]
        assert outcomes.count("limited") == 1

    run(test)


def test_a_name_that_became_known_while_a_read_did_not_find_it_is_read() -> None:
    async def test(server: Server) -> None:
        assert await server.outcome("a") == "not_found"
        server.existing.add("a")
        assert await server.limited.read("a", known=True) == "a 2"

    run(test)


def test_a_name_that_met_the_limit_is_not_remembered_as_missing() -> None:
    async def test(server: Server) -> None:
        for number in range(BURST):
            await server.outcome(f"made-up-{number}")
        assert await server.outcome("a") == "limited"
        server.now += 1
        assert (await server.outcome("a")).startswith("a ")

    run(test, "a")


def test_an_unexpected_error_reaches_its_caller_and_the_next_one_reads_again() -> None:
    async def main() -> None:
        errors = [RuntimeError("odd")]

        async def fetch(name: str) -> str:
            if errors:
                raise errors.pop()
            return "found"

        reads = LiveReads(fetch)
        with pytest.raises(RuntimeError):
            await reads.read("a")
        assert await reads.read("a") == "found"

    asyncio.run(main())
