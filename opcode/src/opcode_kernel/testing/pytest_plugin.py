"""A pytest plugin that holds every run of every test against the laws of `check_history`.

An engine that a test opens is checked when it is closed; the databases that a test leaves in its `tmp_path`, those of child
processes included, when the test is over. A test that breaks a store on purpose says so:

    @pytest.mark.broken_history("the log is cut to see that it is noticed")

Use it with `-p opcode_kernel.testing.pytest_plugin`, or name it in the `pytest_plugins` of a conftest.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from opcode_kernel.errors import OpcodeError
from opcode_kernel.plugin.manager import Registry, discover
from opcode_kernel.runtime import engine as engine_module
from opcode_kernel.runtime.engine import Engine
from opcode_kernel.testing.database_file import DatabaseFile, finished, is_database
from opcode_kernel.testing.history import HistoryReport, check_history

#: As something whose names may be replaced.
_engines: Any = engine_module
#: No deeper than this below a test's folder.
_DEPTH = 6


class Histories:
    """What the plugin remembers in the course of a session."""

    def __init__(self) -> None:
        self.reports: list[str] = []
        self.runs = 0
        #: Whether the test that runs now wants nothing checked.
        self.off = False
        #: Files that were checked when their engine was closed, with the id of the newest event they had then.
        self.seen: dict[Path, int] = {}
        self._opened: dict[int, Engine] = {}
        self._registry: Registry | None = None
        self._kept = (_engines.recover, _engines.open_nursery)

    # Engines in this process -------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Have every engine checked that is opened from now on.

        The engine opens its nursery first and leaves it last: behind it nothing of the engine is running any more, and
        its store is still open. `recover` is where the engine that belongs to a nursery first shows.
        """
        recover, open_nursery = self._kept

        async def noted(engine: Engine) -> int:
            self._opened[id(engine.nursery)] = engine
            count: int = await recover(engine)
            return count

        @asynccontextmanager
        async def watched() -> AsyncIterator[Any]:
            opened = None
            try:
                async with open_nursery() as nursery:
                    opened = id(nursery)
                    yield nursery
            finally:
                engine = self._opened.pop(opened, None) if opened is not None else None
                if engine is not None:
                    with anyio.CancelScope(shield=True):
                        await self._check_engine(engine)

        _engines.recover, _engines.open_nursery = noted, watched

    def unwatch(self) -> None:
        """Leave the engine as it was."""
        _engines.recover, _engines.open_nursery = self._kept

    async def _check_engine(self, engine: Engine) -> None:
        if self.off:
            return
        try:
            report = await check_history(engine.store, engine.registry, limits=engine.options.limits)
        except OpcodeError as error:
            self.reports.append(f"the history of a closed engine cannot be read: {error.message}")
            return
        self._add(report)
        path = getattr(engine.store, "_path", None)
        if isinstance(path, Path):
            with DatabaseFile(path) as database:
                self.seen[path.resolve()] = database.newest

    def _add(self, report: HistoryReport) -> None:
        self.runs += report.runs
        if report.violations:
            self.reports.append(str(report))

    # Files --------------------------------------------------------------------------------------------------------

    def check_folder(self, folder: Path) -> None:
        """Check every database below a folder."""
        for path in _databases(folder):
            try:
                self._check_file(path)
            except (sqlite3.Error, OpcodeError, ValueError) as error:
                self.reports.append(f"the history in {path} cannot be read: {type(error).__name__}: {error}")

    def _check_file(self, path: Path) -> None:
        with DatabaseFile(path) as database:
            if not database.is_ours or self.seen.pop(path.resolve(), -1) == database.newest:
                return
            self._registry = self._registry or discover()
            self._add(finished(check_history(database, self._registry)))  # type: ignore[arg-type]

    def take(self) -> list[str]:
        """Return what was found since the last time."""
        reports, self.reports = self.reports, []
        return reports


def _databases(folder: Path) -> Iterator[Path]:
    pending = [(folder, 0)]
    while pending:
        current, depth = pending.pop()
        try:
            found = sorted(current.iterdir())
        except OSError:
            continue
        for path in found:
            if path.is_symlink():
                continue
            if path.is_dir() and depth < _DEPTH:
                pending.append((path, depth + 1))
            elif path.is_file() and is_database(path):
                yield path


_KEY = pytest.StashKey[Histories]()


def pytest_configure(config: pytest.Config) -> None:
    """Start watching."""
    config.addinivalue_line(
        "markers",
        "broken_history(reason): the test breaks a store on purpose, or fills one beyond measure, so its histories are "
        "not checked",
    )
    histories = config.stash[_KEY] = Histories()
    histories.watch()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop watching."""
    config.stash[_KEY].unwatch()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """See whether the histories of this test are to be checked."""
    item.config.stash[_KEY].off = item.get_closest_marker("broken_history") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test whose engines left a broken history."""
    yield
    _judge(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Look at engines that fixtures closed, and at what is left in the test's folder."""
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    yield
    if isinstance(folder, Path) and item.get_closest_marker("broken_history") is None:
        item.config.stash[_KEY].check_folder(folder)
    _judge(item)


def _judge(item: pytest.Item) -> None:
    found = item.config.stash[_KEY].take()
    if found and item.get_closest_marker("broken_history") is None:
        pytest.fail("a law of history is broken\n" + "\n".join(found), pytrace=False)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how much was checked."""
    runs = config.stash[_KEY].runs
    if runs:
        terminalreporter.write_line(f"{runs} runs were held against the laws of history")
