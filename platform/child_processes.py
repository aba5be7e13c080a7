"""What processes that work for another one have in common."""

import os
import threading
from multiprocessing import parent_process


def end_with_parent() -> None:
    """Called in a child of multiprocessing: it ends at once when its parent has ended, however that came.

    Else it would wait for ever for work from a process that was killed.
    """
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    parent_process().join()
    os._exit(1)
