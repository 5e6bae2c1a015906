"""Micro-batches, with functions in the place of signatures."""

import asyncio
import concurrent.futures
import gc
import threading
import weakref

import numpy as np
import pytest

from framework.serving.server.batching import Batcher, Batching

_LONG = 30.0  # seconds that no test waits


class Doubled:
    """Doubles `x`, holds its calls until released, and remembers them; negative numbers are refused."""

    def __init__(self, *, held=False):
        self.calls = []
        self.entered = threading.Semaphore(0)
        self._open = threading.Event()
        if not held:
            self._open.set()

    def release(self):
        self._open.set()

    def __call__(self, arrays):
        self.calls.append({name: array.tolist() for name, array in arrays.items()})
        self.entered.release()
        assert self._open.wait(_LONG)
        if (arrays["x"] < 0).any():
            raise ValueError(f"negative: {arrays['x'].min()}")
        return {"y": 2 * arrays["x"]}


def serve(scenario, run, **batching):
    """Runs `await scenario(submit)`, where submit takes numbers and returns a task with their doubles."""

    async def main():
        with concurrent.futures.ThreadPoolExecutor(4) as executor:
            sizes = []
            batcher = Batcher(run, executor, Batching(**batching), sizes.append)

            def submit(*numbers, shape=None):
                x = np.asarray(numbers, np.float64)
                x = x if shape is None else x.reshape(shape)
                return asyncio.create_task(batcher.submit({"x": x}, len(x)))

            async with asyncio.timeout(_LONG):
                result = await scenario(submit)
            return result, sizes

    return asyncio.run(main())


async def entered(run):
    await asyncio.to_thread(run.entered.acquire)


async def settle():
    """Lets tasks that can run come to their next wait."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_lone_client_never_waits():
    run = Doubled()

    async def scenario(submit):
        return [(await submit(number))["y"].tolist() for number in range(5)]

    answers, sizes = serve(scenario, run, max_delay_secs=_LONG)
    assert answers == [[0], [2], [4], [6], [8]]
    assert sizes == [1] * 5


def test_what_waits_is_joined_and_taken_apart():
    run = Doubled(held=True)

    async def scenario(submit):
        first = submit(1)
        await entered(run)
        others = [submit(2, 3), submit(4), submit(5, 6, 7)]
        await settle()
        run.release()
        return [(await task)["y"].tolist() for task in (first, *others)]

    answers, sizes = serve(scenario, run, in_flight=1, max_delay_secs=0.0)
    assert answers == [[2], [4, 6], [8], [10, 12, 14]]
    assert run.calls == [{"x": [1]}, {"x": [2, 3, 4, 5, 6, 7]}]
    assert sizes == [1, 6]


def test_the_largest_size():
    run = Doubled(held=True)

    async def scenario(submit):
        first = submit(0)
        await entered(run)
        others = [submit(1, 1), submit(2, 2, 2), submit(3), submit(*[4] * 9), submit(5)]
        await settle()
        run.release()
        return [(await task)["y"].tolist() for task in (first, *others)]

    answers, _ = serve(scenario, run, in_flight=1, max_delay_secs=0.0, max_size=4)
    assert answers == [[0], [2, 2], [4, 4, 4], [6], [8] * 9, [10]]
    # Later requests fill a batch that an earlier, larger one doesn't fit into; a too large one goes alone.
    assert [call["x"] for call in run.calls] == [[0], [1, 1, 3, 5], [2, 2, 2], [4] * 9]


def test_only_the_same_shapes_are_joined():
    run = Doubled(held=True)

    async def scenario(submit):
        first = submit(0)
        await entered(run)
        others = [submit(1, 2, shape=(1, 2)), submit(3), submit(4, 5, shape=(1, 2)), submit(6)]
        await settle()
        run.release()
        return [(await task)["y"].tolist() for task in (first, *others)]

    answers, _ = serve(scenario, run, in_flight=1, max_delay_secs=0.0)
    assert answers == [[0], [[2, 4]], [6], [[8, 10]], [12]]
    assert [call["x"] for call in run.calls] == [[0], [[1, 2], [4, 5]], [3, 6]]


def test_one_bad_request_does_not_fail_its_neighbours():
    run = Doubled(held=True)

    async def scenario(submit):
        first = submit(0)
        await entered(run)
        others = [submit(1), submit(-2), submit(3), submit(-4)]
        await settle()
        run.release()
        return await asyncio.gather(first, *others, return_exceptions=True)

    answers, _ = serve(scenario, run, in_flight=1, max_delay_secs=0.0)
    assert [str(a) if isinstance(a, Exception) else a["y"].tolist() for a in answers] == [
        [0],
        [2],
        "negative: -2.0",
        [6],
        "negative: -4.0",
    ]
    assert len(run.calls) == 1 + 1 + 4


def test_outputs_that_cannot_be_taken_apart():
    """A sum over the batch is right only for a request alone."""
    held = Doubled(held=True)

    def run(arrays):
        held(arrays)
        return {"sum": arrays["x"].sum()[np.newaxis]}

    async def scenario(submit):
        first = submit(1)
        await entered(held)
        others = [submit(2), submit(3)]
        await settle()
        held.release()
        return [(await task)["sum"].tolist() for task in (first, *others)]

    assert serve(scenario, run, in_flight=1, max_delay_secs=0.0)[0] == [[1], [2], [3]]


def test_company_is_waited_for():
    """After a joined call the next request waits for others, but a full batch or the end of the delay ends it."""
    run = Doubled(held=True)

    async def scenario(submit):
        tasks = [submit(0)]
        await entered(run)
        tasks += [submit(1), submit(2)]
        await settle()
        run.release()
        await asyncio.gather(*tasks)
        waiting = submit(3)
        await settle()
        calls_while_waiting = len(run.calls)
        full = submit(4, 5, 6)
        await asyncio.gather(waiting, full)
        return calls_while_waiting

    calls, sizes = serve(scenario, run, in_flight=1, max_delay_secs=_LONG / 2, max_size=4)
    assert calls == 2
    assert sizes[-1] == 4


def test_the_delay_ends():
    run = Doubled(held=True)

    async def scenario(submit):
        tasks = [submit(0)]
        await entered(run)
        tasks += [submit(1), submit(2)]
        await settle()
        run.release()
        await asyncio.gather(*tasks)
        return (await submit(3))["y"].tolist(), (await submit(4))["y"].tolist()

    answers, sizes = serve(scenario, run, in_flight=1, max_delay_secs=0.01)
    assert answers == ([6], [8])
    assert sizes == [1, 2, 1, 1]


def test_several_calls_in_flight():
    run = Doubled(held=True)

    async def scenario(submit):
        tasks = [submit(number) for number in range(3)]
        await entered(run)
        await entered(run)
        calls = len(run.calls)
        run.release()
        await asyncio.gather(*tasks)
        return calls

    calls, sizes = serve(scenario, run, in_flight=2, max_delay_secs=0.0)
    assert calls == 2
    assert sizes == [1, 1, 1]


def test_who_gives_up_is_not_computed_for():
    run = Doubled(held=True)

    async def scenario(submit):
        first = submit(0)
        await entered(run)
        others = [submit(1), submit(2)]
        await settle()
        others[0].cancel()
        await settle()
        run.release()
        first_answer, second = await asyncio.gather(first, others[1])
        return first_answer["y"].tolist(), second["y"].tolist()

    assert serve(scenario, run, in_flight=1, max_delay_secs=0.0)[0] == ([0], [4])
    assert [call["x"] for call in run.calls] == [[0], [2]]


def test_who_gives_up_is_forgotten_at_once():
    """Or whoever asks and hangs up again and again would fill the memory while one call takes its time."""
    run = Doubled(held=True)

    async def main():
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            batcher = Batcher(run, executor, Batching(in_flight=1))
            first = asyncio.create_task(batcher.submit({"x": np.zeros(1)}, 1))
            await entered(run)
            x = np.ones(3)
            given_up, reference = asyncio.create_task(batcher.submit({"x": x}, 3)), weakref.ref(x)
            del x
            await settle()
            was_there = reference() is not None
            given_up.cancel()
            await asyncio.wait([given_up])
            del given_up
            gc.collect()
            is_there = reference() is not None
            run.release()
            await first
            return was_there, is_there

    assert asyncio.run(main()) == (True, False)


def test_who_gives_up_while_it_is_computed():
    run = Doubled(held=True)

    async def scenario(submit):
        first = submit(0)
        await entered(run)
        first.cancel()
        await settle()
        run.release()
        return (await submit(1))["y"].tolist()

    assert serve(scenario, run, in_flight=1)[0] == [2]


def test_nothing_is_lost_under_load():
    run = Doubled()

    async def client(submit, seed):
        rng = np.random.default_rng(seed)
        for _ in range(40):
            numbers = rng.integers(0, 99, rng.integers(1, 4)).tolist()
            assert (await submit(*numbers))["y"].tolist() == [2 * number for number in numbers]

    async def scenario(submit):
        await asyncio.gather(*(client(submit, seed) for seed in range(16)))

    _, sizes = serve(scenario, run, max_size=8, max_delay_secs=0.001)
    assert sum(sizes) == sum(len(call["x"]) for call in run.calls)
    assert max(sizes) > 1
    assert max(sizes) <= 8


@pytest.mark.parametrize(
    "options", [{"max_size": 0}, {"in_flight": 0}, {"max_delay_secs": -1.0}, {"max_delay_secs": float("nan")}]
)
def test_numbers_out_of_range(options):
    with pytest.raises(ValueError, match="Batching needs"):
        Batching(**options)
