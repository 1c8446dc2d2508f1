"""Work that takes the processor for long: in processes of its own, so that no call waits for it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

# a live service may run beside: it goes first
NICE = 10


def polite_pool(
    workers: int, begin: Callable[..., None], *arguments: object
) -> ProcessPoolExecutor:
    """Return a pool whose processes begin with that, give way to others, and end with this one."""
    return ProcessPoolExecutor(
        workers,
        # a fork would copy threads' locks in whatever state they are
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(begin, arguments),
    )


def _begin(begin: Callable[..., None], arguments: tuple[object, ...]) -> None:
    # Ctrl-C is for whom started us, who tells us what to do
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICE)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    begin(*arguments)


def _end_with_parent() -> None:
    """Wait for the end of who started us: killed, he cannot tell a pool to end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
