"""How real paths are compared: by whole components, and by every spelling that finds the same file."""

from __future__ import annotations

import sys
import unicodedata

#: The usual file systems of macOS find a file whatever the case and the composition of the letters in its name.
_ANY_SPELLING = sys.platform == "darwin"


def contains(root: str, path: str) -> bool:
    """Tell whether `path` is `root` or below it, by whole components; both must be resolved.

    >>> contains("/srv/a", "/srv/a/..x"), contains("/srv/a", "/srv/ab"), contains("/", "/srv")
    (True, False, True)
    """
    return path == root or path.startswith(root if root.endswith("/") else f"{root}/")


def folded(path: str) -> str:
    """Return the form in which protected places are compared."""
    if not _ANY_SPELLING:
        return path
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())
