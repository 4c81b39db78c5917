"""The JSON Schema of definitions, from the server and from the command line."""

from __future__ import annotations

import json

import httpx2
import pytest

import opcode_steps
from opcode_kernel import JsonSchema, Limits
from opcode_kernel.core.validation.published import definition_schema
from opcode_kernel.plugin.manager import registry_of
from opcode_kernel.server.cli import main

pytestmark = pytest.mark.anyio

PATHS = ("/schema/definition.json", "/schema/definition/v1.json")


async def test_the_schema_is_only_read_and_of_one_version(serve):
    async with serve() as site, httpx2.AsyncClient(base_url=site.url) as client:
        assert (await client.post(PATHS[0], json={})).status_code == 405
        assert (await client.get("/schema/definition/v2.json")).status_code == 404


async def test_the_schema_is_as_protected_as_the_rest(serve):
    async with serve(auth_token="secret") as site, httpx2.AsyncClient(base_url=site.url) as client:
        assert (await client.get(PATHS[0])).status_code == 401
        assert (await client.get(PATHS[0], headers={"authorization": "Bearer secret"})).status_code == 200


async def test_the_server_has_the_schema_under_both_paths(serve):
    async with serve() as site, httpx2.AsyncClient(base_url=site.url) as client:
        replies = [await client.get(path) for path in PATHS]
    assert {reply.headers["content-type"] for reply in replies} == {"application/schema+json"}
    assert replies[0].json() == replies[1].json() == definition_schema(site.engine.registry.step_types, Limits())


def test_the_command_prints_the_schema_of_what_is_installed_with_the_limits_that_hold(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPCODE_HOME", str(tmp_path))
    monkeypatch.setenv("OPCODE_PLUGINS", "steps")
    monkeypatch.setenv("OPCODE_LIMITS_STEPS_PER_LIST", "2")
    assert main(["schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == definition_schema(registry_of(opcode_steps).step_types, Limits(steps_per_list=2))
    many = {"steps": [{"id": f"s{n}", "action": "a.b"} for n in range(3)]}
    assert JsonSchema(printed).violations(many) == [
        "/steps: expected a number of items of at most 2, found "
        + json.dumps(many["steps"], separators=(",", ":"))[:120]
    ]
