"""Three stages that overlap: a source and a sink in threads of their own, the work between in the caller's."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items that wait between two stages: enough to even out their times, few enough to hold little memory.
CAPACITY = 4


class _Cancelled(Exception):
    """Another stage has ended the pipeline."""


class _Channel(Generic[Item]):
    """A bounded queue between two threads that either end can close."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._finished = False
        self._cancelled = False

    def put(self, item: Item) -> None:
        """Append an item when there is room."""
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled or len(self._items) < CAPACITY)
            if self._cancelled:
                raise _Cancelled
            self._items.append(item)
            self._changed.notify_all()

    def finish(self) -> None:
        """Say that no item follows."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Wake both ends, which then end by ``_Cancelled``."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._cancelled or self._finished or self._items)
                if self._cancelled:
                    raise _Cancelled
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


def run_pipeline(source: Iterable[Item], transform: Callable[[Item], Result], sink: Callable[[Result], object]) -> None:
    """Pass every item of ``source`` through ``transform`` to ``sink``, in order.

    Whatever goes wrong in a stage ends all three, and is raised here once their threads have ended.
    """
    decoded: _Channel[Item] = _Channel()
    encoded: _Channel[Result] = _Channel()
    failures: list[BaseException] = []

    def guarded(stage: Callable[[], None]) -> None:
        try:
            stage()
        except _Cancelled:
            pass
        except BaseException as error:
            failures.append(error)
            decoded.cancel()
            encoded.cancel()

    def produce() -> None:
        for item in source:
            decoded.put(item)
        decoded.finish()

    def consume() -> None:
        for result in encoded:
            sink(result)

    threads = [
        threading.Thread(target=guarded, args=(stage,), name=f"edgeinfer-video-{stage.__name__}", daemon=True)
        for stage in (produce, consume)
    ]
    for thread in threads:
        thread.start()
    try:
        for item in decoded:
            encoded.put(transform(item))
        encoded.finish()
        threads[1].join()
    except _Cancelled:
        pass
    finally:
        decoded.cancel()
        encoded.cancel()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
