"""The places of one server, and who waits for them."""

import asyncio
from collections import Counter, deque

CLASSES = ("interactive", "batch")


class Slots:
    """The places of one server and who waits for them: interactive requests first, and on an interactive server
    batch work only while nobody interactive runs or waits there, never in its last place."""

    def __init__(self, total: int, queue: int, *, interactive: bool) -> None:
        self.total, self.queue, self.interactive = total, queue, interactive
        self.running = Counter[str]()
        self.lanes = {name: deque[asyncio.Future[None]]() for name in CLASSES}

    @property
    def waiting(self) -> int:
        return sum(map(len, self.lanes.values()))

    def free(self, priority: str) -> bool:
        """Whether a request of this class may start now."""
        if priority == "batch" and self.interactive:
            busy = self.running["interactive"] or self.lanes["interactive"]
            return not busy and self.running.total() < max(1, self.total - 1)
        return self.running.total() < self.total

    def take_now(self, priority: str) -> bool:
        """Take a place that is free and that nobody waits for."""
        if not self.free(priority) or self.lanes[priority]:
            return False
        self.running[priority] += 1
        return True

    async def take(self, priority: str, wait_s: float) -> bool:
        """Take a place; False when the queue is full or the wait too long."""
        if self.take_now(priority):
            return True
        if self.waiting >= self.queue or wait_s <= 0:
            return False
        turn = asyncio.get_running_loop().create_future()
        self.lanes[priority].append(turn)
        try:
            async with asyncio.timeout(wait_s):
                await turn
        except TimeoutError:
            return came(turn)
        except asyncio.CancelledError:
            if came(turn):
                self.release(priority)
            raise
        finally:
            if turn in self.lanes[priority]:
                self.lanes[priority].remove(turn)
                self.call()
        return True

    def release(self, priority: str) -> None:
        """Give a place back."""
        self.running[priority] -= 1
        self.call()

    def call(self) -> None:
        """Let those in whose turn it is."""
        for priority in CLASSES:
            lane = self.lanes[priority]
            while lane and self.free(priority):
                turn = lane.popleft()
                if not turn.done():
                    self.running[priority] += 1
                    turn.set_result(None)


def came(turn: asyncio.Future[None]) -> bool:
    """Whether a turn came, be it in the very moment in which its owner gave up."""
    return turn.done() and not turn.cancelled()
