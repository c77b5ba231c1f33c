"""So many users at once: each a thread that sends its next request when its last one is answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from planner.bench.request import Sample
from planner.errors import PlannerError

MOST_USERS = 512


@dataclass
class Run:
    """What a level gave: answered requests, and what went wrong with the others."""

    samples: list[Sample] = field(default_factory=list)
    failures: list[PlannerError] = field(default_factory=list)


def run_level(ask: Callable[[str], Sample], prompts: Sequence[Sequence[str]], done: Callable[[], None]) -> Run:
    """Send `prompts[user]` one after another, all users at once; `done` is called after each request.

    A request that fails is kept in `Run.failures`. Raises the first failure when no request was answered, and
    whatever else a request raised."""
    run, lock, bugs = Run(), threading.Lock(), list[BaseException]()
    ready = threading.Barrier(len(prompts))

    def user(texts: Sequence[str]) -> None:
        ready.wait()
        for text in texts:
            try:
                sample = ask(text)
                with lock:
                    run.samples.append(sample)
            except PlannerError as error:
                with lock:
                    run.failures.append(error)
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that started this
                with lock:
                    bugs.append(error)
                return
            with lock:
                done()

    # Daemons: an interrupt must not wait for answers that are still being written.
    threads = [threading.Thread(target=user, args=(texts,), daemon=True) for texts in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if bugs:
        raise bugs[0]
    if not run.samples:
        raise run.failures[0]
    return run
