"""The API function's door: API Gateway event -> the app -> API Gateway response."""

from mangum import Mangum

from fareway.app import create_app
from fareway.settings import Settings
from fareway.wiring import build

handler = Mangum(create_app(build(Settings.from_env())), lifespan="off")
