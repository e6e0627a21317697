"""One JSON object a line on stderr; hashes and counts only, never a prompt, answer or key."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

_JSON = json.JSONEncoder(default=str)


def log(level: str, message: str, **fields: Any) -> None:
    """Writes one line.

    Args:
        level: `info`, `warning` or `error`.
        message: a fixed phrase that can be searched for.
        fields: what is particular to this time. No content and no secrets.
    """
    line = {"time": round(time.time(), 3), "level": level, "message": message, **fields}
    print(_JSON.encode(line), file=sys.stderr, flush=True)  # noqa: T201
