"""What nobody means to lose: a mounted file system, the working directory, an allowed path, a parent of them."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from opcode_fs.failures import denied
from opcode_kernel import PathGuard, Place


class Precious:
    """Looks once at what is mounted and where the daemon works; then judges what is to be deleted or moved."""

    def __init__(self, guard: PathGuard) -> None:
        self._guard = guard
        self._mounts = mount_points()
        self._here: tuple[int, int] | None = None
        self._path = ""
        with suppress(OSError):  # the working directory is gone
            here = os.stat(".")  # noqa: PTH116
            self._here = (here.st_dev, here.st_ino)
            self._path = os.getcwd()  # noqa: PTH109

    def refuse(self, doing: str, place: Place) -> None:
        """Refuse a place that is precious or holds something precious by its name.

        Raises:
            ActionError: `PATH_DENIED`.
        """
        if self._guard.keeps(place.path, place.info) or self._holds(place) or self._is_mounted(place):
            reason = (
                "it is or holds the root of a file system, the working directory of the daemon or a path of the"
                " settings; name what is in it instead"
            )
            raise denied(doing, place.path, reason)

    def _holds(self, place: Place) -> bool:
        if place.info is None or not place.is_dir:
            return False
        return (place.info.st_dev, place.info.st_ino) == self._here or f"{self._path}/".startswith(f"{place.path}/")

    def _is_mounted(self, place: Place) -> bool:
        if place.name == "." or place.path in self._mounts:
            return True
        above = place.directory.objects[-1]
        return place.info is not None and place.is_dir and above is not None and above[0] != place.info.st_dev


def mount_points() -> frozenset[str]:
    """Return where file systems, directories and files are mounted; empty where the system does not list them."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return frozenset()
    return frozenset(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split(" ")[4]) for line in lines)
