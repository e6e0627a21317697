"""The processes behind `python -m local.stack`: found again, ended whole, strangers left alone."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from local.background import Background
from local.cloud import LocalCloudError, answers, start_ministack
from local.serving import serve

#: A process with a child, as MiniStack has its Lambda workers; it says the child's pid.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def wait_for(condition: Callable[[], object], limit_s: float = 10) -> None:
    give_up = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Background]:
    process = Background("parent", tmp_path)
    process.start([sys.executable, "-c", PARENT], dict(os.environ), tmp_path)
    yield process
    process.stop()


def test_a_process_is_found_again_by_its_name(process: Background) -> None:
    assert Background("parent", process.folder).pid() == process.pid() is not None


def test_it_ends_with_all_that_it_started(process: Background) -> None:
    wait_for(lambda: process.tail())
    child = int(process.tail())
    assert process.stop()
    assert process.pid() is None
    wait_for(lambda: _is_gone(child))
    assert not process.stop()


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "old.pid").write_text(f"{os.getpid()} Mon Jan  1 00:00:00 2001")
    assert Background("old", tmp_path).pid() is None
    assert not Background("old", tmp_path).stop()


def test_a_port_that_a_stranger_has_is_told(tmp_path: Path) -> None:
    with serve(FastAPI()) as url:
        port = int(url.rsplit(":", 1)[1])
        assert answers(port)
        with pytest.raises(LocalCloudError, match="FAREWAY_LOCAL_PORT"):
            start_ministack(port, tmp_path)


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # Ended, but its new parent has not buried it yet.
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
