"""The shape of the repository: what a stranger relies on when he copies a folder, and what must never be there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
KERNEL = ROOT / "opcode"
CORE = KERNEL / "src" / "opcode_kernel" / "core"
PLUGINS = sorted((ROOT / "plugins").glob("opcode-*"))
DISTRIBUTIONS = [KERNEL, *PLUGINS]
HEADINGS = ["Adds", "Install", "Actions", "Settings", "Security", "Example"]

#: Beyond this a file is split, whatever the reason was.
HARD_LIMIT = 400
#: Sources that may be longer than 300 lines; a new name here needs a reason in the commit.
LONG = {
    "opcode/src/opcode_kernel/runtime/driver.py",
    "opcode/src/opcode_kernel/runtime/engine.py",
}
#: Modules of the standard library that would bring time, chance or the world into the core.
WORLDLY = {
    "asyncio",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
    "uuid",
}
_MACHINE = re.compile(r"(?<![\w.])/(?:home|root|Users|mnt|work)/[A-Za-z]")


@cache
def files() -> tuple[Path, ...]:
    """Return what is or will be tracked; outside of a checkout, what lies in the folders."""
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode == 0:
        found = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        found = [path for path in ROOT.rglob("*") if not any(map(_made_by_tools, path.relative_to(ROOT).parts))]
    return tuple(path for path in found if path.is_file())


def _made_by_tools(part: str) -> bool:
    return part in ("__pycache__", "build", "dist") or part.endswith("egg-info") or (part[0] == "." and part != ".ci")


def sources() -> list[Path]:
    return [path for path in files() if path.suffix == ".py" and "tests" not in path.relative_to(ROOT).parts]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def project(distribution: Path) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((distribution / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def package(distribution: Path) -> Path:
    (found,) = [path for path in (distribution / "src").iterdir() if (path / "__init__.py").is_file()]
    return found


def test_nothing_shadows_the_module_opcode_of_the_standard_library() -> None:
    shadows = [path for path in files() if path.name == "opcode.py" or relative(path).endswith("opcode/__init__.py")]
    assert shadows == []
    done = subprocess.run(
        [sys.executable, "-c", "import dis, opcode; print(opcode.__file__); print(len(dis.opmap))"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(ROOT) not in done.stdout.splitlines()[0]


def test_no_import_package_of_ours_has_the_name_of_another() -> None:
    names = [package(distribution).name for distribution in DISTRIBUTIONS]
    assert len(set(names)) == len(names)
    assert not set(names) & set(sys.stdlib_module_names)
    assert all(name.startswith("opcode_") for name in names)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda path: path.name)
def test_every_distribution_is_complete(distribution: Path) -> None:
    names = ["pyproject.toml", "README.md", "CHANGELOG.md", f"src/{package(distribution).name}/py.typed"]
    assert [name for name in names if not (distribution / name).is_file()] == []
    assert list((distribution / "tests").rglob("test_*.py")), "it has no tests"
    assert "## Unreleased" in (distribution / "CHANGELOG.md").read_text(encoding="utf-8")
    assert project(distribution)["description"]
    assert (package(distribution) / "__init__.py").read_text(encoding="utf-8").startswith('"""')


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_every_plugin_is_a_model_to_copy(plugin: Path) -> None:
    own = project(plugin)
    name = package(plugin).name
    assert (own["name"], name) == (plugin.name, plugin.name.replace("-", "_"))
    assert own["entry-points"]["opcode"] == {plugin.name.removeprefix("opcode-"): name}
    kernel = [each for each in own["dependencies"] if each.startswith("opcode-")]
    assert kernel == [f"opcode-kernel=={project(KERNEL)['version']}"], (
        "a plugin depends on the kernel and no other plugin"
    )
    contract = (plugin / "tests" / "test_contract.py").read_text(encoding="utf-8")
    assert f"check_plugin({name})" in contract
    headings = re.findall(r"^## (.+)$", (plugin / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [heading for heading in headings if heading in HEADINGS] == HEADINGS


def test_the_bundle_holds_no_code_and_names_every_plugin() -> None:
    bundle = project(ROOT)
    wanted = {f"{plugin.name}=={project(plugin)['version']}" for plugin in PLUGINS}
    assert {each for each in bundle["dependencies"] if not each.startswith("opcode-kernel")} == wanted
    assert not (ROOT / "src").exists()


def test_plugins_are_found_by_their_entry_points() -> None:
    found = {point.value for point in entry_points(group="opcode")}
    assert {package(plugin).name for plugin in PLUGINS} <= found


def test_the_import_rules_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--config", "pyproject.toml", "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_plugin_is_under_the_import_rules_and_the_type_checker() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    names = {package(plugin).name for plugin in PLUGINS}
    assert names <= set(tools["importlinter"]["root_packages"])
    public = next(each for each in tools["importlinter"]["contracts"] if "public surface" in each["name"])
    assert names == set(public["source_modules"])
    assert {f"plugins/{plugin.name}/src" for plugin in PLUGINS} <= set(tools["mypy"]["files"])


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def test_the_core_imports_the_standard_library_and_nothing_of_the_world() -> None:
    strange = []
    for path in CORE.rglob("*.py"):
        for name in imported(path):
            root = name.partition(".")[0]
            inside = name.startswith("opcode_kernel.core") or name == "opcode_kernel.errors"
            if not inside and (root not in sys.stdlib_module_names or root in WORLDLY):
                strange.append((relative(path), name))
    assert strange == []
    errors = set(imported(CORE.parent / "errors.py"))
    assert not any(name.startswith("opcode_kernel") for name in errors), "errors.py is a leaf for all rooms"


def test_plugins_import_the_public_surface_only() -> None:
    allowed = {"opcode_kernel", "opcode_kernel.testing"}
    deep = [
        (relative(path), name)
        for plugin in PLUGINS
        for path in (plugin / "src").rglob("*.py")
        for name in imported(path)
        if name.startswith("opcode_kernel") and name not in allowed
    ]
    assert deep == []


def test_everything_the_kernel_calls_public_is_there() -> None:
    for name in ("opcode_kernel", "opcode_kernel.testing"):
        module = import_module(name)
        assert [each for each in module.__all__ if not hasattr(module, each)] == []


def test_no_source_file_is_too_long() -> None:
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {name: length for name, length in lengths.items() if length > HARD_LIMIT} == {}
    assert {name for name, length in lengths.items() if length > 300} <= LONG


def test_pins_name_versions_and_no_host() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.!+-]+", line)] == []


def test_no_tracked_file_knows_a_machine() -> None:
    found = []
    for path in files():
        if path == Path(__file__).resolve():
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{relative(path)}: {match[0]}" for match in _MACHINE.finditer(text)]
    assert found == []


def test_there_are_no_files_of_hosting_services() -> None:
    folders = {relative(path).partition("/")[0] for path in files()}
    assert not folders & {".github", ".gitlab", ".gitlab-ci.yml", ".circleci", ".travis.yml"}
