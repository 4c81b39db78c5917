"""What the documentation shows works as shown. A comment before a block of code says what the block is:

`<!-- file: NAME -->` the reader saves it; `<!-- runs -->` it runs (Python, or lines that begin with `$`);
`<!-- runs: server -->` it runs and gets the URL of a server; `<!-- prints -->` it is what the block before it printed.
In the README of a plugin every Python block runs.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = [ROOT / "README.md", ROOT / "opcode/README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLUGINS = sorted((ROOT / "plugins").glob("opcode-*/README.md"))
_BLOCK = re.compile(r"(?:^<!-- ([a-z]+)(?:: (\S+))? -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_RUN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Block(NamedTuple):
    mark: str
    argument: str
    language: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    return [Block(*(part or "" for part in match)) for match in _BLOCK.findall(page.read_text(encoding="utf-8"))]


def surroundings(folder: Path) -> dict[str, str]:
    """Return the environment of a reader who has just installed OPCODE and sits in this folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OPCODE_")}
    path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**inherited, "OPCODE_HOME": str(folder / "home"), "PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8"}


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A folder that looks like the root of the repository after `make setup`."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run a server on a free port and yield its URL; it must stop in good order."""
    environment = {**surroundings(folder), "OPCODE_LISTEN_ADDR": "127.0.0.1:0"}
    command = [str(folder / ".venv" / "bin" / "opcode"), "serve"]
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            records = (json.loads(line) for line in process.stderr)
            yield next(record["url"] for record in records if record["msg"] == "ready")
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
            assert process.wait(30) == 0
        finally:
            process.kill()


def same(wanted: str, printed: str) -> bool:
    """Compare output as a reader would: ids and milliseconds are different each time, `...` stands for anything."""

    def calm(text: str) -> str:
        return re.sub(r"\b(completed|suspended) +\d+ ", r"\1 ", _RUN_ID.sub("ID", text))

    return OutputChecker().check_output(calm(wanted), calm(printed), ELLIPSIS | NORMALIZE_WHITESPACE)


def run_python(block: Block, folder: Path) -> str:
    arguments: list[str] = []
    if block.argument == "server":
        with server(folder) as url:
            return run_python(block._replace(argument=url), folder)
    if block.argument:
        arguments.append(block.argument)
    command = [sys.executable, "-W", "error", "-c", block.text, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=surroundings(folder), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_shell(block: Block, folder: Path) -> tuple[str, str]:
    """Run the lines that begin with `$`, all in one shell; returns what the page shows and what was printed."""
    lines = block.text.splitlines(keepends=True)
    script = "".join(line[2:] for line in lines if line.startswith("$ "))
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        env=surroundings(folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, f"{script} printed nothing: {done.stderr}"
    return "".join(line for line in lines if not line.startswith("$ ")), done.stdout


def walk(page: Path, folder: Path, *, all_python: bool) -> int:
    """Do what the page says from top to bottom; returns how many blocks ran."""
    ran, printed = 0, None
    for block in blocks_of(page):
        if block.mark == "file":
            file = folder / block.argument
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.mark == "runs" and block.language == "console":
            wanted, output = run_shell(block, folder)
            assert same(wanted, output), f"{page}: expected\n{wanted}\nfound\n{output}"
            ran += 1
        elif block.language == "python" and (block.mark == "runs" or all_python):
            printed = run_python(block, folder)
            ran += 1
        elif printed is not None and (block.mark == "prints" or (all_python and not block.language)):
            assert same(block.text, printed), f"{page}: expected\n{block.text}\nfound\n{printed}"
            printed = None
    return ran


@pytest.mark.parametrize("page", OURS, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_marked_blocks_run_and_print_what_the_page_says(page: Path, reader: Path) -> None:
    ran = walk(page, reader, all_python=False)
    assert ran == sum(block.mark == "runs" for block in blocks_of(page))


@pytest.mark.parametrize("page", PLUGINS, ids=lambda page: page.parent.name)
def test_python_in_the_readme_of_a_plugin_runs(page: Path, reader: Path) -> None:
    walk(page, reader, all_python=True)


def test_complete_programs_are_marked() -> None:
    """What imports and calls is a program; it must not escape the tests above for want of a mark."""
    missed = [
        (page.name, block.text[:60])
        for page in OURS
        for block in blocks_of(page)
        if block.language == "python" and "anyio.run" in block.text and block.mark not in ("runs", "file")
    ]
    assert missed == []


def test_commands_in_the_readme_work(reader: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^(?:\$ )?\.venv/bin/opcode ([^#\n]+)", readme, re.MULTILINE)
    inline = re.findall(r"`\.venv/bin/opcode ([^`]+)`", readme)
    assert "serve" in lines
    for words in dict.fromkeys(line.strip() for line in [*lines, *inline]):
        if words == "serve":
            with server(reader) as url:
                assert url.endswith("/sse")
            continue
        done = subprocess.run(
            ["sh", "-c", f".venv/bin/opcode {words}"],
            cwd=reader, env=surroundings(reader), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"opcode {words}: {done.stderr}"


def test_the_plugin_of_the_guide_can_be_built_installed_found_and_used(reader: Path) -> None:
    walk(ROOT / "docs" / "write-a-plugin.md", reader, all_python=False)
    site = reader / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation",
               "--disable-pip-version-check", "--target", str(site), str(reader)]  # fmt: skip
    environment = {**surroundings(reader), "PYTHONPATH": str(site)}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=reader, env=environment, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    run(*install)
    assert "acme-text" in run("opcode", "plugins")
    described = json.loads(run("opcode", "actions", "text.slug"))
    assert described["input_schema"]["required"] == ["text"]
    assert "output: creme-brulee" in run("opcode", "run", "slug.json", "--input", "title=Crème brûlée")
    run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
