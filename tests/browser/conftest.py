"""The page in headless Chromium: served by uvicorn, with DuckDB in Athena's place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from benchmarks.traffic import Generator
from fareway.app import create_app
from fareway.savings import Savings
from fareway.settings import Settings
from fareway.wiring import Gateway, build
from local.serving import serve
from tests.lake import Asked

KEY = "fw-admin-of-the-test"


# A module's: while playwright runs, no event loop of another test can.
@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    """The distribution's browser, else the one that playwright has fetched."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        if found is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip(
                "no Chromium on this machine: apt-get install chromium, or "
                ".venv/bin/playwright install --with-deps chromium"
            )
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lake() -> Iterator[Asked]:
    """Thirty days of synthetic traffic that end today."""
    first = datetime.now(UTC).date() - timedelta(days=29)
    traffic = Generator(7, first, 30).traffic(4_000)
    lake = Asked(traffic.events, traffic.opinions)
    yield lake
    lake.close()


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[str, Gateway]]:
    # upstream keys: without one nothing can be routed; nothing is ever sent with them
    gateway = build(Settings(api_key=KEY, upstream_keys={"tokenmix": "k", "openrouter": "k"}))
    with serve(create_app(gateway)) as url:
        yield url, gateway


@pytest.fixture
def site(served: tuple[str, Gateway], lake: Asked) -> str:
    """The page's address; its ledger is the month, read anew."""
    url, gateway = served
    lake.asked.clear()
    gateway.savings = Savings(gateway.policy, lambda: lake)
    return url


@pytest.fixture
def gateway(served: tuple[str, Gateway]) -> Gateway:
    return served[1]


class Visit:
    """A tab, and whatever went wrong in it."""

    def __init__(self, page: object) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda m: self.faults.append(m.text) if m.type == "error" else None)


@pytest.fixture(params=[1280, 390], ids=["desktop", "phone"])
def width(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def visit(chromium: object, width: int) -> Iterator[Visit]:
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, device_scale_factor=2 if width < 500 else 1
    )
    context.set_default_timeout(10_000)
    yield Visit(context.new_page())
    context.close()
