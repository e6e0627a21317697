"""What the layers install is what uv.lock says, and what the tests ran with."""

from importlib.metadata import version

import pytest

from local.layers import LAYERS, ROOT, requirements, text


@pytest.mark.parametrize("layer", LAYERS)
def test_the_requirement_file_is_in_step_with_the_lock(layer: str) -> None:
    written = (ROOT / "layers" / f"{layer}.txt").read_text(encoding="utf-8")
    assert written == text(layer), "run: python -m local.layers"


@pytest.mark.parametrize("layer", LAYERS)
def test_what_ships_is_what_is_tested(layer: str) -> None:
    pinned = dict(line.split("==") for line in requirements(layer))
    assert {name: version(name) for name in pinned} == pinned
