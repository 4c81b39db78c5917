"""The documentation says what the code does: nothing public is missing, nothing stands there that is gone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from opcode_kernel import JsonSchema
from opcode_kernel.core.events import RESERVED_EVENTS
from opcode_kernel.core.limits import Limits
from opcode_kernel.core.references import NAMESPACES
from opcode_kernel.core.validation.fields import DEFINITION, ON_ERROR, RETRY, STEP
from opcode_kernel.core.validation.workflow_fields import FIELDS, HOOK_FIELDS
from opcode_kernel.errors import CODES
from opcode_kernel.plugin import hookspecs
from opcode_kernel.plugin.manager import Registry, registry_of
from opcode_kernel.runtime.engine import open_engine
from opcode_kernel.server.cli import build_parser
from opcode_kernel.server.policy_settings import SECTIONS
from opcode_kernel.server.sessions import Sessions
from opcode_kernel.server.settings import READERS
from opcode_kernel.server.tools import collect_tools
from opcode_kernel.store.memory import MemoryStore

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
PLUGINS = sorted(path.name for path in (ROOT / "plugins").glob("opcode-*"))
OURS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "opcode/README.md", *sorted((ROOT / "docs").glob("*.md"))]
INDEX = REFERENCE / "README.md"
PAGES = [*OURS, INDEX, *(ROOT / "plugins" / name / "README.md" for name in PLUGINS)]
SNIPPET = '{ "mcpServers": { "opcode": { "type": "sse", "url": "http://localhost:4100/sse" } } }'


@pytest.fixture(scope="module")
def registry() -> Registry:
    return registry_of(*(import_module(name.replace("-", "_")) for name in PLUGINS))


@pytest.fixture(scope="module")
def words() -> dict[str, Any]:
    return tomllib.loads((ROOT / "docs" / "reference.toml").read_text(encoding="utf-8"))


def headings(page: str) -> set[str]:
    return set(re.findall(r"^## (\S+)$", (REFERENCE / page).read_text(encoding="utf-8"), re.MULTILINE))


def named(page: str) -> set[str]:
    """Return what stands in the first column of the tables of a reference page."""
    return set(re.findall(r"^\| `([^`]+)` \|", (REFERENCE / page).read_text(encoding="utf-8"), re.MULTILINE))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_generated_reference_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}; run python docs/generate.py"


def test_every_action_is_documented_with_its_params(registry: Registry) -> None:
    assert headings("actions.md") == set(registry.actions)
    params = {
        name for action in registry.actions.values() for name in action.describe()["input_schema"].get("properties", {})
    }
    assert params <= named("actions.md")


def test_every_step_type_and_each_of_its_keys_is_documented(registry: Registry) -> None:
    assert headings("step-types.md") == set(registry.step_types)
    assert named("step-types.md") == {key for step_type in registry.step_types.values() for key in step_type.keys}
    for step_type in registry.step_types.values():
        assert all(schema["description"] for schema in step_type.config_schema["properties"].values())


def test_every_key_reference_and_limit_of_a_definition_is_documented(words: dict[str, Any]) -> None:
    keys = {"workflow": DEFINITION, "step": STEP, "retry": RETRY, "on_error": ON_ERROR}
    assert all(field.text for names in keys.values() for field in names.values())
    assert set(words["references"]) == set(NAMESPACES)
    limits = {field.name for field in fields(Limits)}
    assert set(words["limits"]) == limits
    assert named("definition.md") == {key for names in keys.values() for key in names} | set(NAMESPACES) | limits


def test_every_field_of_workflow_is_documented_and_no_other(words: dict[str, Any]) -> None:
    assert set(words["workflow"]) == {*FIELDS, *HOOK_FIELDS}
    page = (REFERENCE / "definition.md").read_text(encoding="utf-8")
    assert [name for name in words["workflow"] if f"- `{name}`: " not in page] == []


def test_the_index_of_the_reference_names_every_page_and_plugin() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", (REFERENCE / "README.md").read_text(encoding="utf-8"))
    pages = {path.name for path in REFERENCE.iterdir() if path.name != "README.md"}
    assert set(targets) == pages | {f"../../plugins/{name}/README.md" for name in PLUGINS}


def test_the_readme_leads_to_every_page_of_the_documentation() -> None:
    targets = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} | {"docs/reference/README.md"} <= set(targets)


def test_every_hook_is_documented_with_its_contract() -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("opcode_")}
    assert headings("hooks.md") == hooks
    for name in hooks:
        contract = getattr(hookspecs, name).__doc__ or ""
        assert "Called" in contract, f"{name} must say when it is called"


def test_every_event_is_documented_and_no_other(words: dict[str, Any]) -> None:
    assert named("events.md") == set(words["events"]) == RESERVED_EVENTS


def test_every_error_code_is_documented_and_no_other(words: dict[str, Any]) -> None:
    assert named("errors.md") == set(words["errors"]) == set(CODES)


def test_every_tool_is_documented_in_the_reference_and_in_the_readme(registry: Registry) -> None:
    tools = set(collect_tools(SimpleNamespace(registry=registry, store=None), Sessions()))
    assert headings("tools.md") == tools
    assert set(re.findall(r"^\| `(opcode\.\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)) == tools


def test_every_setting_is_documented_and_no_other(words: dict[str, Any]) -> None:
    keys = {*READERS, *(f"{section}.{key}" for section, keys in SECTIONS.items() for key in keys)}
    assert named("settings.md") == keys | set(words["environment"])
    known = {key for key in words["settings"] if key not in SECTIONS}
    assert known == set(READERS)
    assert {name: set(words["settings"][name]) for name in SECTIONS} == {k: set(v) for k, v in SECTIONS.items()}


def test_every_command_is_documented() -> None:
    usage = build_parser().format_help()
    commands = set(re.findall(r"^    ([a-z]+) ", usage, re.MULTILINE))
    documented = {
        line.split()[2] for line in (REFERENCE / "cli.md").read_text().splitlines() if line[:10] == "## opcode "
    }
    assert commands == documented


def test_commands_shown_anywhere_exist() -> None:
    commands = set(re.findall(r"^    ([a-z]+) ", build_parser().format_help(), re.MULTILINE))
    shown = {
        (page.name, word)
        for page in PAGES
        for language in ("sh", "console")
        for block in blocks(page, language)
        for word in re.findall(r"(?:^|[\s/|])opcode ([a-z]+)", block)
    }
    assert {(page, word) for page, word in shown if word not in commands} == set()


def test_the_readme_shows_the_published_client_snippet_and_true_numbers(registry: Registry) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert SNIPPET in readme
    assert f"{len(registry.actions)} actions" in readme
    assert (len(registry.step_types), len(registry.evaluators)) == (6, 3), "the README says six and three"


def test_the_workflow_in_the_readme_is_the_one_in_the_examples() -> None:
    shown = next(block for block in blocks(ROOT / "README.md", "json") if '"steps"' in block)
    real = json.loads((ROOT / "examples" / "hello.json").read_text(encoding="utf-8"))
    assert json.loads(shown)["definition"] == real["definition"]


def test_every_workflow_shown_is_valid(registry: Registry) -> None:
    shown = [(page, json.loads(text)) for page in PAGES for text in blocks(page, "json") if '"steps"' in text]
    assert len(shown) > 5

    async def check() -> dict[str, list[str]]:
        known = registry_of(*(import_module(name.replace("-", "_")) for name in PLUGINS), _Slug())
        async with MemoryStore() as store, open_engine(store, known) as engine:
            reports = [
                (f"{page.parent.name}/{page.name}", engine.check(content.get("definition", content)))
                for page, content in shown
            ]
        return {name: [str(issue) for issue in report.errors] for name, report in reports if not report.ok}

    assert anyio.run(check) == {}


def test_every_workflow_shown_or_kept_as_an_example_satisfies_the_published_schema() -> None:
    schema = JsonSchema(json.loads((REFERENCE / "definition.schema.json").read_text(encoding="utf-8")))
    shown = {
        f"{page.parent.name}/{page.name}": text for page in PAGES for text in blocks(page, "json") if '"steps"' in text
    }
    shown |= {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "examples").rglob("*.json")}
    definitions = {
        name: content.get("definition", content) for name, content in ((n, json.loads(t)) for n, t in shown.items())
    }
    assert len(definitions) > 5
    assert {name: found for name, each in definitions.items() if (found := schema.violations(each))} == {}


class _Slug:
    """The action of docs/write-a-plugin.md, which is not installed here."""

    def __init__(self) -> None:
        from opcode_kernel import action, hookimpl

        self.opcode_actions = hookimpl(
            lambda: [action("text.slug", summary="Slug", output=str)(lambda ctx, params: "")]
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_pages_of_the_repository_name_no_host_but_loopback() -> None:
    found = {
        (page.name, url)
        for page in [*OURS, *REFERENCE.glob("*.md"), ROOT / "CHANGELOG.md", ROOT / "opcode" / "CHANGELOG.md"]
        for url in re.findall(r"https?://([\w.-]+)", page.read_text(encoding="utf-8"))
    }
    assert {(page, host) for page, host in found if host not in ("localhost", "127.0.0.1")} == set()
