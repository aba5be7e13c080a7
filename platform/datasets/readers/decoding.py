"""Files decoded by several processes, in their order, and never all in memory."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from platform.child_processes import end_with_parent
from platform.errors import InputError

Item = TypeVar("Item")
Found = TypeVar("Found")
_AHEAD = 4  # batches a worker that may wait for the file, so that what was decoded does not pile up in memory


def in_workers(
    work: Callable[[Sequence[Item]], list[Found]],
    items: Sequence[Item],
    workers: int,
    batch: int,
    start: Callable[..., None] | None = None,
    given: tuple[Any, ...] = (),
) -> Iterator[Found]:
    """What `work` makes of each item, a batch at a time. start: what each worker calls first, with what is given.

    Raises InputError where a worker was killed.
    """
    batches = (items[first : first + batch] for first in range(0, len(items), batch))
    waiting: deque[Future[list[Found]]] = deque()
    # a fresh interpreter each: forking is not safe beside the threads of a progress bar
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_started, initargs=(start, given))
    try:
        for several in batches:
            waiting.append(pool.submit(work, several))
            if len(waiting) > _AHEAD * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise InputError(
            f"--workers {workers}: a process was killed, for want of memory perhaps; give fewer, or 0"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _started(start: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    """What a worker does first."""
    end_with_parent()
    if start is not None:
        start(*given)
