"""`fareway serve`: the same app as the Lambda's, under uvicorn."""

from __future__ import annotations

import gc
import os
import secrets
import sys
from dataclasses import replace
from typing import Annotated

import typer
import uvicorn

from fareway.app import create_app
from fareway.cli.console import err, stop
from fareway.errors import ConfigError
from fareway.keys import PREFIX
from fareway.settings import Settings
from fareway.wiring import build

#: How long a thread may wait for another that computes, seconds. The event loop waits for the
#: classifier's threads, a twentieth of a prompt's scoring at most: Python's 5 ms is two prompts.
SWITCH_S = 0.0001


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
) -> None:
    """Serves the endpoint; upstream keys are OPENROUTER_API_KEY and TOKENMIX_API_KEY."""
    try:
        settings = Settings.from_env()
        if not settings.keys_table and not settings.api_key:
            settings = replace(settings, api_key=PREFIX + secrets.token_urlsafe(24))
            err.print(f"No key table and no FAREWAY_API_KEY: this run's key is {settings.api_key}")
        app = create_app(build(settings, scorer_process=(os.cpu_count() or 1) > 1))
    except ConfigError as error:
        stop("\n  ".join(["the configuration has faults:", *error.faults]))
    err.print(f"base_url http://{host}:{port}/v1", highlight=False)
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()  # what is loaded by now stays: no collection need look at it again
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,  # a request's own line is `observe`'s
        timeout_keep_alive=75,
    )
