"""The names of plugins in the settings, checked before anything is opened and without loading a plugin."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.metadata import entry_points

from opcode_kernel.errors import SettingsError
from opcode_kernel.server.settings import Settings


def check_plugin_names(settings: Settings) -> None:
    """Refuse names in `plugins_only` and `plugins_off` that no installed plugin has.

    Raises:
        SettingsError: all of them, each with the place it came from.
    """
    wanted = [(key, name) for key in ("plugins_only", "plugins_off") for name in getattr(settings, key)]
    if not wanted:
        return
    points = entry_points(group="opcode")
    known = {point.name for point in points} | {point.dist.name for point in points if point.dist is not None}
    problems = []
    for key, name in wanted:
        if name not in known:
            hint = get_close_matches(name, known, n=1)
            meant = f"; did you mean {hint[0]!r}?" if hint else ""
            installed = ", ".join(sorted(point.name for point in points)) or "none"
            where = settings.places.get(key, key)
            problems.append(f"{where}: no installed plugin is called {name!r}{meant} (installed: {installed})")
    if problems:
        raise SettingsError("\n".join(problems), details={"problems": problems})
