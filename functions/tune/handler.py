"""The tuner's door: once a week, a schedule's event -> a proposal in S3."""

from datetime import UTC, datetime
from typing import Any

from fareway.settings import Settings
from fareway.weekly import weekly


def handler(event: object, context: object) -> dict[str, Any]:
    return weekly(Settings.from_env(), datetime.now(UTC).date())
