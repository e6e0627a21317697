"""The API function's other door, which streams: requests come from the Lambda Web Adapter."""

import uvicorn

from fareway.app import create_app
from fareway.settings import Settings
from fareway.wiring import build

if __name__ == "__main__":
    settings = Settings.from_env()
    app = create_app(build(settings))
    uvicorn.run(app, host="127.0.0.1", port=settings.port, log_level="warning")
