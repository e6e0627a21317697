"""The API function's other door, which streams: requests come from the Lambda Web Adapter."""

import uvicorn

from fareway.app import create_app
from fareway.settings import Settings
from fareway.wiring import build

if __name__ == "__main__":
    app = create_app(build(Settings.from_env()))
    uvicorn.run(app, host="127.0.0.1", port=8080, log_level="warning", timeout_keep_alive=75)
