"""The API function's door: API Gateway event -> the app -> API Gateway response."""

from fareway.settings import Settings
from fareway.snapshot import Door

handler = Door(Settings.from_env())
