"""Work that one process does at a time: a claim, one conditional write, that holds for a while.

FOLDER/claim-000.json     {"at": when it was made}; whoever comes after it makes claim-001
"""

from __future__ import annotations

import json

from fareway.batch.job import Job


class Busy(Exception):
    """Another process is at it, or was a moment ago."""


def claim(job: Job, folder: str, now: float, lease_s: float) -> str:
    """Claims the work of a folder -> the claim's key.

    Args:
        now: seconds since the epoch.
        lease_s: how long a claim keeps others away, seconds: longer than its maker can live.

    Raises:
        Busy: somebody else's claim holds.
    """
    claims = job.store.keys(f"{folder}/claim-")
    last = job.document(claims[-1]) if claims else {"released": True}
    if "released" not in last and now - float(last["at"]) < lease_s:
        raise Busy(folder)
    key = f"{folder}/claim-{len(claims):03}.json"
    if not job.store.create(key, json.dumps({"at": now}).encode()):
        raise Busy(folder)
    return key


def release(job: Job, key: str) -> None:
    """Lets go of work that is not done: whoever comes next need not wait."""
    job.keep(key, {**job.document(key), "released": True})
