"""The savings page's doors: who may see the figures, and how its files are served."""

import re

import boto3
import httpx
import pytest

from fareway.app import create_app
from fareway.aws import Aws
from fareway.caller import Allowance
from fareway.keys import KeyTable, create_key
from fareway.page import load_files
from fareway.savings import Savings
from fareway.settings import Settings
from fareway.wiring import build
from tests.builders import a_policy, an_event
from tests.lake import Asked

SAVINGS = "/v1/admin/savings/summary?from=2026-11-24&to=2026-11-24"


@pytest.fixture
async def door(tmp_path):
    """The app, its lake with one event; its one key is `fw-test`."""
    gateway = build(Settings(api_key="fw-test", classifier_dir=tmp_path))
    lake = Asked([an_event()])
    gateway.savings = Savings(a_policy(), lambda: lake)
    transport = httpx.ASGITransport(create_app(gateway))
    async with httpx.AsyncClient(transport=transport, base_url="http://fareway") as client:
        client.gateway = gateway
        yield client
    await gateway.close()
    lake.close()


def bearer(key):
    return {"authorization": f"Bearer {key}"}


async def test_the_one_key_of_a_server_opens_the_ledger(door):
    response = await door.get(SAVINGS, headers=bearer("fw-test"))
    assert response.status_code == 200
    assert response.json()["totals"]["requests"] == 1
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("headers", [{}, bearer("fw-other")])
async def test_no_figure_without_a_key(door, headers):
    response = await door.get(SAVINGS, headers=headers)
    assert response.status_code == 401
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_key_in_the_url_opens_nothing(door):
    response = await door.get(f"{SAVINGS}&key=fw-test&authorization=Bearer%20fw-test")
    assert response.status_code == 401


@pytest.mark.parametrize(("admin", "status"), [(True, 200), (False, 403)])
async def test_of_the_tables_keys_an_admins_alone_opens_it(door, aws, table, admin, status):
    name = table("keys", "key_hash")
    _, key = create_key(boto3.client("dynamodb"), name, "me", "acme", Allowance(admin=admin))
    door.gateway.keys = KeyTable(sdk := Aws(), name)
    response = await door.get(SAVINGS, headers=bearer(key))
    await sdk.close()
    assert response.status_code == status
    if not admin:
        assert response.json()["error"]["code"] == "admin_only"
        assert "--admin" in response.json()["error"]["message"]


async def test_wrong_days_are_named(door):
    response = await door.get("/v1/admin/savings/summary?from=monday", headers=bearer("fw-test"))
    assert (response.status_code, response.json()["error"]["param"]) == (400, "from")


@pytest.mark.parametrize("part", ["totals", "by_key", "scores.sql", "..%2Fsummary"])
async def test_no_other_query_can_be_asked(door, part):
    response = await door.get(f"/v1/admin/savings/{part}", headers=bearer("fw-test"))
    assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown_url")


async def test_without_a_lake_the_answer_says_what_to_set(door):
    door.gateway.savings = Savings(a_policy(), None)
    response = await door.get(SAVINGS, headers=bearer("fw-test"))
    assert response.status_code == 503
    assert "FAREWAY_ATHENA_WORKGROUP" in response.json()["error"]["message"]


# ---- files ----


async def test_the_page_needs_no_key_and_holds_no_figure(door):
    response = await door.get("/dashboard")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "fw-test" not in response.text


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/dashboard.js", SAVINGS])
async def test_every_answer_is_bound_to_this_origin(door, path):
    response = await door.get(path, headers=bearer("fw-test"))
    csp = dict(
        part.split(" ", 1) for part in response.headers["content-security-policy"].split("; ")
    )
    assert (
        csp["default-src"]
        == csp["frame-ancestors"]
        == csp["form-action"]
        == csp["base-uri"]
        == "'none'"
    )
    assert csp["script-src"] == csp["style-src"] == csp["connect-src"] == "'self'"
    assert "unsafe" not in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


def test_nothing_in_the_pages_files_comes_from_elsewhere_or_is_inline():
    page = {name: file.content.decode() for name, file in load_files().items()}
    html = page["dashboard.html"]
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", html)
    for name, text in page.items():
        if name != "uplot-license.txt":
            links = set(re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]{2,}[^\s\"')]*", text))
            assert links <= {"http://www.w3.org/2000/svg", "https://github.com/leeoniya/uPlot"}, (
                name
            )
    for name in re.findall(r"(?:src|href)=\"dashboard/([^\"]+)\"", html):
        assert name in page


async def test_a_browser_that_has_a_file_is_told_so(door):
    first = await door.get("/dashboard/dashboard.css")
    assert first.headers["cache-control"] == "no-cache"
    again = await door.get(
        "/dashboard/dashboard.css", headers={"if-none-match": f'W/"x", {first.headers["etag"]}'}
    )
    assert (again.status_code, again.content) == (304, b"")
    other = await door.get("/dashboard/dashboard.css", headers={"if-none-match": '"x"'})
    assert other.content == first.content


@pytest.mark.parametrize(
    "name", ["nothing.js", "..%2Fpolicy.toml", "..%2f..%2fpyproject.toml", "%2e%2e", "a%00b"]
)
async def test_there_are_no_other_files(door, name):
    response = await door.get(f"/dashboard/{name}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "unknown_url"
