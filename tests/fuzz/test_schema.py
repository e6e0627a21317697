"""Schemathesis over a real server: requests made of the schema, and of what it forbids."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import settings
from schemathesis.generation import GenerationMode

from fareway.app import create_app
from local.serving import serve
from tests.fuzz.openapi import document
from tests.fuzz.world import EXAMPLES, KEY, SLOW, World, holds, well

SCHEMA = schemathesis.openapi.from_dict(document())
SCHEMA.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
SCHEMA.config.phases.coverage.enabled = bool(EXAMPLES)  # some 120 requests for each route


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[World, str]]:
    world = World()
    world.answer = well
    with serve(create_app(world.gateway)) as url:
        yield world, url
    world.loop.close()


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES or 8,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=SLOW,
)
def test_no_request_of_the_schema_or_beside_it_crashes(case, served):
    world, url = served
    world.asked.clear()
    headers = {"authorization": f"Bearer {KEY}"}
    said = case.call(base_url=url, headers=headers, timeout=30)
    told = [(name, value) for name, values in said.headers.items() for value in values]
    answer = httpx.Response(said.status_code, headers=told, content=said.content)
    holds(world, answer, frozenset({400, 401, 403, 404, 405, 413, 503}))
