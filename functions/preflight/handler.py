"""The preflight's door: CodeDeploy's pre-traffic hook -> its verdict on the new version."""

from collections.abc import Mapping

from fareway.preflight import hook
from fareway.settings import Settings


def handler(event: Mapping[str, str], _: object) -> dict[str, object]:
    return hook(Settings.from_env(), event)
