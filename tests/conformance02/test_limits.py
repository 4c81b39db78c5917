"""What is bounded: outputs, templates, caches. Whoever meets a bound is told which setting to change."""

from __future__ import annotations

import gc
from functools import _lru_cache_wrapper
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from opcode_assert import actions as assertions
from opcode_kernel import Json, Limits
from opcode_kernel.core.interpolation import compile_template
from opcode_kernel.testing import call

pytestmark = pytest.mark.anyio

LIMIT = 2_000


async def read(world: Any, name: str, server: Any, tmp_path: Path, size: int) -> Any:
    """Have an action read that many bytes under a low limit of outputs; returns its output or error."""
    (tmp_path / "f").write_text("x" * size)
    server.routes["/f"] = lambda nth: (200, {"Content-Type": "text/plain"}, b"x" * size)
    params: dict[str, dict[str, Json]] = {
        "fs.read": {"path": f"{tmp_path}/f"}, "http.get": {"url": server.url("/f")},
        "shell.exec": {"command": "cat", "args": [f"{tmp_path}/f"]},
    }  # fmt: skip
    return (
        await world.run([{"id": "s", "action": name, "params": params[name]}], limits=Limits(step_output_size=LIMIT))
    )["steps"]["s"]


@pytest.mark.spec("1.7")
@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("fs.read", "fs.max_read_bytes"), ("http.get", "http.max_response_bytes"), ("shell.exec", "shell.max_output_bytes"),
    ],
)  # fmt: skip
async def test_what_may_be_read_but_is_too_much_for_an_output_names_both_settings(
    world: Any, server: Any, tmp_path: Path, name: str, setting: str
) -> None:
    """The caps of what is read are higher than that of an output, so there are sizes between the two."""
    assert (await read(world, name, server, tmp_path, 10))["status"] == "completed"
    error = (await read(world, name, server, tmp_path, LIMIT))["error"]
    assert (error["code"], error["retryable"]) == ("EXECUTION_ERROR", False)
    assert f"at most {LIMIT} bytes" in error["message"]
    assert "raise limits.step_output_size" in error["message"]
    assert f"lower {setting}" in error["message"]
    assert error["details"]["limit"] == LIMIT
    assert error["details"]["size"] > LIMIT
    assert error["details"]["setting"] == "limits.step_output_size"


@pytest.mark.spec("1.7")
async def test_of_an_action_that_reads_nothing_only_the_limit_itself_is_named(world: Any) -> None:
    world.probe.answer = "x" * LIMIT
    steps = [{"id": "s", "action": "probe.take"}]
    error = (await world.run(steps, limits=Limits(step_output_size=LIMIT)))["steps"]["s"]["error"]
    assert error["message"].endswith("raise limits.step_output_size")


@pytest.mark.spec("1.7")
def test_every_cache_has_a_bound() -> None:
    caches = [each for each in gc.get_objects() if isinstance(each, _lru_cache_wrapper)]
    ours = {
        f"{each.__module__}.{each.__qualname__}": each.cache_parameters()["maxsize"]
        for each in caches
        if str(each.__module__).startswith("opcode_") and signature(each).parameters
    }
    assert ours
    assert {name: size for name, size in ours.items() if size is None or size > 4096} == {}


@pytest.mark.spec("1.7")
async def test_1024_schemas_are_kept_and_those_in_use_stay() -> None:
    cache = assertions._schema
    cache.cache_clear()
    for number in range(2_000):
        await call(assertions.schema, {"data": number, "schema": {"const": number}})
        await call(assertions.schema, {"data": 1, "schema": {"type": "integer"}})
    assert cache.cache_info().currsize == cache.cache_parameters()["maxsize"] == 1024
    misses = cache.cache_info().misses
    await call(assertions.schema, {"data": 1, "schema": {"type": "integer"}})
    assert cache.cache_info().misses == misses


# Templates ------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("10.5")
async def test_a_reference_has_at_most_32_accessors(taken: Any, refused: Any) -> None:
    deep: Json = "found"
    for _ in range(31):
        deep = {"a": deep}
    assert await taken("${{inputs.x" + ".a" * 31 + "}}", inputs={"x": deep}) == "found"
    step = {"id": "s", "action": "probe.take", "params": {"v": "${{inputs.x" + ".a" * 32 + "}}"}}
    assert "at most 32 accessors" in (await refused([step]))["message"]


@pytest.mark.spec("10.5")
@pytest.mark.parametrize("place", ["one text", "many texts", "nested", "keys"])
async def test_params_hold_at_most_1000_references(world: Any, refused: Any, place: str) -> None:
    def params(count: int) -> dict[str, Json]:
        token = "${{inputs.u}} "
        return {
            "one text": {"v": token * count}, "many texts": {f"k{n}": token for n in range(count)},
            "nested": {"v": [{"w": [token] * count}]}, "keys": {"v": {f"{token}{n}": 1 for n in range(count)}},
        }[place]  # fmt: skip

    result = await world.run([{"id": "s", "action": "probe.take", "params": params(1000)}], {"u": "x"})
    assert result["status"] == "completed"
    problem = await refused([{"id": "s", "action": "probe.take", "params": params(1001)}])
    assert "at most 1000 references" in problem["message"]


@pytest.mark.spec("10.2", "10.5")
def test_an_escaped_token_is_no_reference() -> None:
    assert compile_template([r"\${{x}} ${{inputs.a}}"] * 1000).references


@pytest.mark.spec("10.5")
@pytest.mark.parametrize(
    "template",
    [
        "${{inputs.big}}" * 20,
        ["${{inputs.big}}"] * 20,
        {f"k{n}": "x${{inputs.big}}" for n in range(20)},
        {"deep": [{"er": ["${{inputs.list}}"] * 20}]},
        ["${{inputs.list | json}}"] * 20,
        {"${{inputs.big}}" * 20: 1},
    ],
    ids=range(6),
)
async def test_what_a_template_becomes_is_at_most_16_mib(taken: Any, template: Json) -> None:
    inputs = {"big": "x" * 950_000, "list": [1] * 470_000}
    error = await taken(template, inputs=inputs, limits=Limits(params_size=2 << 20))
    assert (error["code"], error["retryable"]) == ("INTERPOLATION_ERROR", False)
    assert "at most 16777216 bytes" in error["message"]
    assert error["details"]["setting"] == "limits.step_output_size"


@pytest.mark.spec("10.5")
async def test_what_stays_below_is_handed_over(taken: Any) -> None:
    found = await taken(["${{inputs.big}}"] * 17, inputs={"big": "x" * 950_000})
    assert sum(map(len, found)) == 17 * 950_000


def test_the_bound_grows_with_that_of_outputs() -> None:
    assert Limits().resolved_size == 16 << 20
    assert Limits(step_output_size=100).resolved_size == 16 << 20
    assert Limits(step_output_size=64 << 20).resolved_size == 128 << 20
    assert Limits(params_size=64 << 20).resolved_size == 128 << 20
