"""Work -> a task of it that has begun."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def begin(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Runs the work at once until it first has to wait, and the rest of it as a task.

    Much of what a request begins has nothing to wait for, and is over when this returns. Before
    Python 3.12 the task begins in the loop's next round.
    """
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
    return asyncio.create_task(work)
