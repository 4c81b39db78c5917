#!/usr/bin/env python3
"""The pages for those who operate a server: its settings and its commands."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from tables import accepted, capital, commands, default, table

from opcode_kernel.core.limits import Limits
from opcode_kernel.plugin.manager import Registry
from opcode_kernel.plugin.policy import Policy
from opcode_kernel.server.cli import build_parser
from opcode_kernel.server.commands.common import FLAGS
from opcode_kernel.server.policy_settings import SECTIONS
from opcode_kernel.server.settings import HOT, READERS, Settings, variable_of

WORDS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("reference.toml").read_text(encoding="utf-8"))


def settings_page(registry: Registry) -> Iterator[str]:
    """Every setting with its default and where it can be given."""
    yield "# Settings"
    yield (
        "They come from flags, then the environment, then `settings.json` in the data directory, then the defaults. "
        "What is malformed is refused with its place. `Hot` ones are taken over on SIGHUP, the others at a restart."
    )
    defaults = Settings(home=Path("~/.opcode"), db_path="$OPCODE_HOME/opcode.db")
    rows: list[tuple[str, ...]] = []
    for key, reader in READERS.items():
        flag = f"`--{key.replace('_', '-')}`" if key in (*FLAGS, "panel") else ""
        shown = default(getattr(defaults, key))
        text = f"{WORDS['settings'][key]}. Accepts {accepted(reader)}."
        variable = f"`{variable_of(key)}`" if variable_of(key) else ""
        rows.append((f"`{key}`", variable, flag, shown, "yes" if key in HOT else "", text))
    yield table(("Key", "Environment", "Flag", "Default", "Hot", "Meaning"), rows)
    own, held = Policy(), Policy().isolation
    rules: dict[str, Any] = {
        "fs": own.paths,
        "shell": own.shell,
        "http": own.hosts,
        "limits": Limits(),
        "expressions": own.expressions,
    }
    rules["isolation"] = held
    names = {"writable_paths": "writable", "deny_paths": "deny", "allow_hosts": "allow", "deny_hosts": "deny"}
    for section, readers in SECTIONS.items():
        yield f"## {section}"
        hot = " Hot." if section in HOT else ""
        yield f"An object of that name in the file. In the environment, lists are divided as in `PATH`.{hot}"
        given = rules[section]
        known = {field.name for field in fields(given)} | set(dir(held.limits))
        rows = []
        for key, reader in readers.items():
            name = key if key in known else names.get(key, key.removesuffix("_paths"))
            shown = default(getattr(given, name) if hasattr(given, name) else getattr(held.limits, name))
            variable = f"`OPCODE_{section}_{key}`".upper()
            text = f"{WORDS['settings'][section][key]}. Accepts {accepted(reader)}."
            rows.append((f"`{section}.{key}`", variable, shown, text))
        yield table(("Key", "Environment", "Default", "Meaning"), rows)
    yield "## Only in the environment"
    yield table(("Variable", "Meaning"), [(f"`{name}`", f"{text}.") for name, text in WORDS["environment"].items()])


def cli_page(registry: Registry) -> Iterator[str]:
    """Every command with its arguments."""
    parser = build_parser()
    yield "# Commands"
    yield f"{parser.description} {capital(parser.epilog or '')}."
    for name, text, command in commands(parser):
        yield f"## opcode {name}"
        yield f"{capital(text)}."
        rows = [
            (f"`{', '.join(option.option_strings) or option.metavar or option.dest}`", option.help or "")
            for option in command._actions  # noqa: SLF001 - as in `commands`
            if option.dest != "help" and not isinstance(option, argparse._SubParsersAction)  # noqa: SLF001
        ]
        if rows:
            yield table(("Argument", "Meaning"), rows)
