"""A command -> a process that outlives its starter, with its pid and log in a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Background:
    """One process by name; the pid file is the only thing that is remembered of it.

    Args:
        folder: holds `<name>.pid` and `<name>.log`.
    """

    name: str
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def _pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def start(self, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        """Starts the command in a session of its own; its output goes to the log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # Given up on purpose: it is to live on. Otherwise Python warns when it drops the object.
        process.returncode = 0
        # The start time beside the pid: a pid alone may belong to somebody else by now.
        self._pid_file.write_text(f"{process.pid} {_started(process.pid)}", encoding="ascii")

    def pid(self) -> int | None:
        """The pid while it runs; None when it does not."""
        try:
            pid, _, started = self._pid_file.read_text(encoding="ascii").partition(" ")
        except FileNotFoundError:
            return None
        return int(pid) if _started(int(pid)) == started != "" else None

    def stop(self, patience_s: float = 5.0) -> bool:
        """Ends the process and all that it started; False when it did not run."""
        pid = self.pid()
        if pid is not None:
            for sign in (signal.SIGTERM, signal.SIGKILL):
                _signal_group(pid, sign)
                if self._gone(patience_s):
                    break
            # Its children outlive a leader that was asked to end.
            _signal_group(pid, signal.SIGKILL)
        self._pid_file.unlink(missing_ok=True)
        return pid is not None

    def _gone(self, patience_s: float) -> bool:
        give_up = time.monotonic() + patience_s
        while self.pid() is not None:
            if time.monotonic() > give_up:
                return False
            time.sleep(0.05)
        return True

    def tail(self, lines: int = 20) -> str:
        """The log's end."""
        if not self.log.exists():
            return ""
        return "\n".join(
            self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        )


def _signal_group(pid: int, sign: signal.Signals) -> None:
    try:
        os.killpg(pid, sign)
    except ProcessLookupError:
        return


def _started(pid: int) -> str:
    """When a process began, as `ps` tells it; empty when it is gone or only waits to be buried."""
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()
