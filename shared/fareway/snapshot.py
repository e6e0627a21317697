"""The buffered door's life under SnapStart: made at publishing, kept as a snapshot, restored often.

Every restored process begins as the same one. So after a restore all is put together anew but the
classifier, which is what takes long: policy and upstream keys as they are now, clients without old
sockets, breakers closed, caches empty, clocks that begin here. Chance is seeded again: two restored
processes would wait for the same jittered moments. Ids come from the system, which sees to that.

Source: docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html.
"""

from __future__ import annotations

import random
from typing import Any

from mangum import Mangum

from fareway.app import create_app
from fareway.errors import ConfigError
from fareway.log import log
from fareway.render import render_prompt
from fareway.settings import Settings
from fareway.wiring import Gateway, build

try:
    from snapshot_restore_py import (  # type: ignore[import-not-found]
        register_after_restore,
        register_before_snapshot,
    )
except ImportError:  # it comes with Lambda's runtime, and is nowhere else
    register_after_restore = register_before_snapshot = lambda _: None


class Door:
    """API Gateway's events -> the app, the one that was put together last.

    Raises:
        ConfigError: at the start, as `build`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._serve(build(settings))
        register_before_snapshot(self.before_snapshot)
        register_after_restore(self.after_restore)

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        return self._mangum(event, context)

    def before_snapshot(self) -> None:
        """A first prompt takes longer than those after it: buffers grow, pages come in."""
        if (classifier := self.gateway.classifier) is not None:
            classifier.score(render_prompt("What is the capital of France?"))

    def after_restore(self) -> None:
        """All anew but the classifier; where that fails, what the snapshot holds goes on."""
        random.seed()
        try:
            self._serve(build(self._settings, self.gateway.classifier))
        except ConfigError as error:
            log("error", "not made anew after a restore", reason=error.message)

    def _serve(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._mangum = Mangum(create_app(gateway), lifespan="off")
