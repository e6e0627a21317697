"""MiniStack, the AWS API on this machine: a port and a folder -> a cloud that answers."""

from __future__ import annotations

import os
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from local.background import Background

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".venv-local" / "bin"
REGION = "us-east-1"
START_LIMIT_S = 60.0


class LocalCloudError(Exception):
    """The cloud on this machine did not do what it was asked; the message says what to look at."""


def aws_env(port: int) -> dict[str, str]:
    """What points an AWS SDK, the SAM CLI and `fareway` at MiniStack; it wants no real key."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
    }


def start_ministack(port: int, folder: Path) -> Background:
    """Starts MiniStack unless it runs, and waits until it is healthy.

    Nothing is kept when it stops: each start is a new, empty cloud.

    Raises:
        LocalCloudError: something else has the port, or it did not come up.
    """
    process = Background("ministack", folder)
    if process.pid() is not None and answers(port):
        return process
    process.stop()
    if answers(port):
        raise LocalCloudError(
            f"port {port} is taken by something that was not started here; "
            "set FAREWAY_LOCAL_PORT to another"
        )
    scratch = folder / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    # A Lambda worker inherits this environment: nothing of ours may leak into the functions.
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    env |= aws_env(port) | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "TMPDIR": str(scratch),
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
        "SFN_WAIT_SCALE": "0.02",  # a batch job looks again after 0.6 s, not after 30
        "LOG_LEVEL": "INFO",
        "PYTHONUNBUFFERED": "1",
    }
    process.start([str(TOOLS / "ministack")], env, folder)
    give_up = time.monotonic() + START_LIMIT_S
    while not answers(port):
        if process.pid() is None or time.monotonic() > give_up:
            end = process.tail()
            process.stop()
            raise LocalCloudError(f"MiniStack did not come up ({process.log}):\n{end}")
        time.sleep(0.1)
    return process


def answers(port: int, path: str = "/_ministack/health") -> bool:
    """True when something at the port speaks, whatever it says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2):
            return True
    except (HTTPError, HTTPException):
        return True
    except OSError:
        return False
