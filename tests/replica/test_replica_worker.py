"""The thread that owns the model."""

from __future__ import annotations

import asyncio
import threading

import pytest
from replica_fakes import Recorder, Remembering, solo

from guideway.replica.scheduler import Scheduler
from guideway.replica.worker import Outbox, Piece, Worker

PATIENCE = 20.0


class Telling(Recorder):
    """A recorder that says when it is over, and in which thread it was called."""

    def __init__(self, prompt: list[int], limit: int) -> None:
        super().__init__(prompt, limit)
        self.over, self.failed, self.threads = threading.Event(), threading.Event(), set()

    def take(self, token: int) -> bool:
        self.threads.add(threading.current_thread().name)
        more = super().take(token)
        if not more:
            self.over.set()
        return more

    def fail(self, error: Exception) -> None:
        super().fail(error)
        self.failed.set()


def test_one_thread_computes_what_many_threads_hand_in() -> None:
    worker = Worker(Scheduler(Remembering(slots=4)), lambda: None)
    worker.start()
    works = [Telling([number], 12) for number in range(24)]
    hands = [threading.Thread(target=worker.submit, args=(work,)) for work in works]
    for hand in hands:
        hand.start()
    for work in works:
        assert work.over.wait(PATIENCE)
        assert work.answer == solo(Remembering(), work.prompt, 12)
        assert work.threads == {"model"}
    worker.stop()


def test_it_sleeps_between_requests_and_wakes_for_the_next() -> None:
    steps = []
    worker = Worker(Scheduler(Remembering()), lambda: steps.append(1))
    worker.start()
    for _ in range(2):
        work = Telling([3], 4)
        worker.submit(work)
        assert work.over.wait(PATIENCE)
    worker.stop()
    assert len(steps) == 2 * 3 * 2 + 1  # two calls for each of three steps, and a last one


def test_who_is_not_done_hears_that_the_server_stops() -> None:
    worker = Worker(Scheduler(Remembering(context=10**9)), lambda: None)
    worker.start()
    endless = Telling([1], 10**9)
    worker.submit(endless)
    worker.stop()
    assert endless.failed.wait(PATIENCE)
    assert isinstance(endless.error, ConnectionAbortedError)


def test_a_fault_of_the_scheduler_is_told_and_the_thread_lives_on() -> None:
    model = Remembering()
    scheduler = Scheduler(model)
    worker = Worker(scheduler, lambda: None)
    worker.start()
    model.leave = None  # type: ignore[assignment,method-assign]
    unlucky, lucky = Telling([1], 2), Telling([2], 4)
    worker.submit(unlucky)
    assert unlucky.failed.wait(PATIENCE)
    del model.leave
    worker.submit(lucky)
    assert lucky.over.wait(PATIENCE)
    assert lucky.answer == solo(Remembering(), [2], 4)
    worker.stop()


def test_pieces_of_one_step_wake_the_loop_once() -> None:
    class Counting(asyncio.SelectorEventLoop):
        wakes = 0

        def call_soon_threadsafe(self, *args: object, **more: object) -> asyncio.Handle:
            self.wakes += 1
            return super().call_soon_threadsafe(*args, **more)

    async def scene(loop: Counting) -> list[Piece]:
        outbox, queues = Outbox(loop), [asyncio.Queue(), asyncio.Queue()]
        for number, queue in enumerate(queues):
            outbox.put(queue, Piece(str(number)))
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        before = loop.wakes
        outbox.send()
        outbox.send()
        assert loop.wakes - before == 1
        return [await asyncio.wait_for(queue.get(), PATIENCE) for queue in queues]

    loop = Counting()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(scene(loop)) == [Piece("0"), Piece("1")]


@pytest.mark.parametrize("times", [1, 2])
def test_stopping_an_idle_worker_is_quick_and_may_be_said_twice(times: int) -> None:
    worker = Worker(Scheduler(Remembering()), lambda: None)
    worker.start()
    for _ in range(times):
        worker.stop()
    assert "model" not in {thread.name for thread in threading.enumerate()}
