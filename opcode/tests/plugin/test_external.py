"""Reading `plugins` of the settings: everything that is wrong at once, and nothing that may be secret in the words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opcode_kernel.plugin.external import ExternalPlugin, PluginProblems, read_plugin, read_plugins, reveal

GOOD = {"name": "files", "command": "server"}
SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("entry", "path", "said"),
    [
        (7, "plugin", "expected an object"),
        ({}, "plugin.name", "expected a value"),
        ({"name": "files"}, "plugin.command", "either command"),
        ({**GOOD, "url": "http://localhost:1/mcp"}, "plugin.command", "either command"),
        ({**GOOD, "name": "Files"}, "plugin.name", "a-z, 0-9"),
        ({**GOOD, "name": "1files"}, "plugin.name", "first a letter"),
        ({**GOOD, "name": "a" * 33}, "plugin.name", "at most 32"),
        ({**GOOD, "name": "files\n"}, "plugin.name", "a-z, 0-9"),
        ({**GOOD, "name": "http"}, "plugin.name", "built-in families"),
        ({**GOOD, "id": "a/b"}, "plugin.id", "letters, digits"),
        ({**GOOD, "command": " "}, "plugin.command", "not blank"),
        ({**GOOD, "command": "a\0b"}, "plugin.command", "without NUL"),
        ({**GOOD, "command": "\ud800"}, "plugin.command", "lone surrogates"),
        ({**GOOD, "args": "one"}, "plugin.args", "expected an array"),
        ({**GOOD, "args": ["--token", "${{secrets.T}}"]}, "plugin.args[1]", "others can see a command line"),
        ({**GOOD, "cwd": "here"}, "plugin.cwd", "absolute path"),
        ({**GOOD, "env": {"A=B": "x"}}, "plugin.env", "names of variables"),
        ({**GOOD, "env": {"OPCODE_VAULT_KEY": "x"}}, "plugin.env", "none of them OPCODE_*"),
        ({**GOOD, "env": {"opcode_home": "x"}}, "plugin.env", "none of them OPCODE_*"),
        ({**GOOD, "env": {"A": "x\0"}}, "plugin.env.A", "without NUL"),
        ({**GOOD, "env": {"A": None}}, "plugin.env.A", "expected a text"),
        ({**GOOD, "env": {"A": "${{inputs.x}}"}}, "plugin.env.A", "references to secrets only"),
        ({**GOOD, "env": {"A": "${{secrets.X ?? 'd'}}"}}, "plugin.env.A", "plain references"),
        ({**GOOD, "env": {"A": "k=${{secrets.X | json}}"}}, "plugin.env.A", "plain references"),
        ({**GOOD, "env": {"A": "${{secrets.X"}}, "plugin.env.A", ""),
        ({**GOOD, "headers": {"A": "b"}}, "plugin.headers", "only beside url"),
        ({"name": "web", "url": "ftp://host/x"}, "plugin.url", "http or https"),
        ({"name": "web", "url": "http://user:pass@host/x"}, "plugin.url", "without user"),
        ({"name": "web", "url": "http://host/x#y"}, "plugin.url", "fragment"),
        ({"name": "web", "url": "http://host/${{secrets.X}}"}, "plugin.url", "pass secrets in headers"),
        ({"name": "web", "url": "http://host/", "env": {"A": "b"}}, "plugin.url", "only beside command"),
        (
            {"name": "web", "url": "http://host/", "headers": {"Host": "x"}},
            "plugin.headers",
            "the protocol does not set",
        ),
        ({"name": "web", "url": "http://host/", "headers": {"A b": "x"}}, "plugin.headers", "names of headers"),
        ({"name": "web", "url": "http://host/", "headers": {"A": "x\r\ny"}}, "plugin.headers.A", "on one line"),
        ({**GOOD, "call_timeout": 0}, "plugin.call_timeout", "above zero"),
        ({**GOOD, "call_timeout": "soon"}, "plugin.call_timeout", "duration"),
        ({**GOOD, "start_timeout": "1h"}, "plugin.start_timeout", "at most 600"),
        ({**GOOD, "max_concurrency": 0}, "plugin.max_concurrency", "at least 1"),
        ({**GOOD, "enabled": "yes"}, "plugin.enabled", "true or false"),
        ({**GOOD, "restart": {"max": -1}}, "plugin.restart.max", "at least 0"),
        ({**GOOD, "restart": {"times": 3}}, "plugin.restart.times", "no key of an external plugin"),
        ({**GOOD, "restart": 3}, "plugin.restart", "expected an object"),
        ({**GOOD, "arg": ["x"]}, "plugin.arg", "did you mean 'args'"),
        ({**GOOD, "type": "stdio"}, "plugin.type", "known are name, id, command"),
    ],
)
def test_what_is_malformed_is_refused_with_its_place(entry, path, said):
    with pytest.raises(PluginProblems) as caught:
        read_plugin(entry)
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert path in found
    assert said in found[path]


@pytest.mark.parametrize(
    "entry",
    [
        {**GOOD, "env": SECRET},
        {**GOOD, "env": [SECRET]},
        {**GOOD, "env": {"A": [SECRET]}},
        {**GOOD, "env": {"A": SECRET + "\0"}},
        {"name": "web", "url": "http://host/", "headers": SECRET},
        {"name": "web", "url": "http://host/", "headers": {"A": SECRET + "\n"}},
        {"name": "web", "url": f"ftp://host/?key={SECRET}"},
    ],
)
def test_what_may_be_secret_is_not_quoted(entry):
    with pytest.raises(PluginProblems) as caught:
        read_plugins([entry])
    assert SECRET not in str(caught.value) + repr(caught.value.problems)


@pytest.mark.parametrize("value", ["files", ["files", "web"], {"files": {}}, 7, None])
def test_another_shape_than_a_list_of_objects_is_refused_with_the_way_out(value):
    with pytest.raises(ValueError, match="to choose among the installed plugins, use plugins_only"):
        read_plugins(value)


def test_all_problems_are_said_at_once_and_two_of_a_name_are_one():
    with pytest.raises(PluginProblems) as caught:
        read_plugins([{"name": "X"}, {**GOOD, "id": "1"}, {**GOOD, "id": "2"}, {**GOOD, "name": "other", "id": "2"}])
    assert [problem.path for problem in caught.value.problems] == [
        "plugins[0].name", "plugins[0].command", "plugins.name", "plugins.id",
    ]  # fmt: skip


def test_what_is_left_out_has_its_default():
    plugin = read_plugin(GOOD)
    assert plugin == ExternalPlugin("files", id="files", command="server")
    assert (plugin.call_timeout, plugin.max_concurrency, plugin.restart.max, plugin.restart.window) == (30, 16, 5, 600)
    home = read_plugin({**GOOD, "cwd": "~/x", "call_timeout": "1m30s", "restart": {"window": 5}, "env": {"N": 7}})
    assert (home.cwd, home.call_timeout, home.restart.window) == (str(Path.home() / "x"), 90.0, 5.0)
    assert home.env == {"N": "7"}


def test_what_is_shown_holds_no_value_that_may_be_secret():
    local = read_plugin({**GOOD, "env": {"A": SECRET, "B": "${{secrets.B}}", "C": f"{SECRET} ${{{{secrets.B}}}}"}})
    web = read_plugin({"name": "web", "url": f"https://host/mcp?key={SECRET}", "headers": {"Authorization": SECRET}})
    for plugin in (local, web):
        assert SECRET not in json.dumps(plugin.shown()) + repr(plugin)
    assert local.shown()["env"] == {"A": "***", "B": "${{secrets.B}}", "C": "***"}
    assert web.shown()["url"] == "https://host/mcp"


@pytest.mark.anyio
async def test_secrets_are_filled_in_where_they_are_named():
    async def secret(name: str) -> str:
        return f"<{name}>"

    assert await reveal("plain", secret) == "plain"
    assert await reveal("a ${{secrets.A}} b ${{ secrets.B }}", secret) == "a <A> b <B>"
    assert await reveal("${{secrets.A}}", secret) == "<A>"
