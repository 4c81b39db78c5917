"""From a path to a place: directory by directory, each opened in the one before, links expanded here and nowhere else.

The system is never asked to follow anything, so no link can be swapped in behind a check. A link starts the way anew
from the root with its text in its place; what lies before it is looked at again, and the number of starts is bounded.
"""

from __future__ import annotations

import errno
import os
import re
from typing import NoReturn

from opcode_kernel.errors import ActionError
from opcode_kernel.plugin.paths.place import Directory, Place
from opcode_kernel.plugin.paths.system import Identity, identity_of, path_of, require_relative_calls

#: As many links as systems follow; steps back over a component that had to be looked at first count as well.
MAX_STARTS = 40

#: More bytes than any system takes as a path.
MAX_PATH = 4096

#: What opening a link as a directory may say: systems differ.
_MAYBE_LINK = (errno.ENOTDIR, errno.ELOOP, errno.EMLINK)

#: The inode of the root of /proc. Links there are text; the links below a process lead where their text does not say.
_PROC_ROOT = 1

_SURROGATES = re.compile("[\ud800-\udfff]")


class Unreachable(Exception):
    """The way to a path ended early. `path` is what could be resolved of it, followed by the rest as it was given.

    `links` says where the links are that led there.
    """

    links: tuple[str, ...] = ()

    def __init__(self, path: str, objects: tuple[Identity | None, ...], error: OSError) -> None:
        self.path = path
        self.objects = objects
        self.error = error


class _Detour(Exception):
    """The way starts anew with other components; `last` says that the last one was a link."""

    def __init__(self, todo: list[str], *, last: bool = False) -> None:
        self.todo = todo
        self.last = last


def absolute_path(path: str) -> str:
    """Return the absolute, cleaned form of a path, links not resolved: the form that actions answer with.

    Raises:
        ActionError: `PATH_DENIED` for a NUL character or text that no file name can hold; `EXECUTION_ERROR` for a path
            longer than any system takes, and for a relative one where the working directory is gone.
    """
    if "\0" in path:
        refuse(path, "use", "it contains a NUL character")
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        refuse(path, "use", "it contains a lone surrogate")
    if length > MAX_PATH:
        raise unusable(f"{path[:80]}... ({length} bytes)", errno.ENAMETOOLONG)
    try:
        # POSIX lets two leading slashes mean something else, and so normpath keeps them; here they mean one.
        return "/" + os.path.abspath(path).lstrip("/")  # noqa: PTH100
    except FileNotFoundError:
        raise unusable(path, errno.ENOENT) from None


def resolve(path: str, *, follow: bool = True) -> Place:
    """Return the place that an absolute path means; the caller closes it.

    With `follow` a final link is expanded like any other. Directories that do not exist yet are appended as names.

    Raises:
        Unreachable: where the way ends early for another reason than a missing name.
        ActionError: `PATH_DENIED` for a magic link of a process.
    """
    require_relative_calls()
    todo = [name for name in path.split("/") if name not in ("", ".")]
    links: list[str] = []
    through_link = False
    for _ in range(MAX_STARTS + 1):
        try:
            place = _descend(todo, links, follow=follow)
        except _Detour as detour:
            todo = detour.todo
            through_link = through_link or detour.last
        except Unreachable as end:
            end.links = tuple(links)
            raise
        else:
            place.links, place.through_link = tuple(links), through_link
            _ask_the_system(place.directory)
            return place
    raise Unreachable(_joined(todo), (), OSError(errno.ELOOP, os.strerror(errno.ELOOP)))


def _descend(todo: list[str], links: list[str], *, follow: bool) -> Place:
    directory = Directory.root()
    try:
        for index in range(len(todo) - 1):
            try:
                inner = _enter(directory, todo, index, links)
            except FileNotFoundError:
                return _missing(directory, todo, index)
            directory.close()
            directory = inner
        return _arrive(directory, todo, links, follow=follow)
    except BaseException:
        directory.close()
        raise


def _enter(directory: Directory, todo: list[str], index: int, links: list[str]) -> Directory:
    name = todo[index]
    if name == "..":
        raise _Detour(todo[: max(index - 1, 0)] + todo[index + 1 :])
    try:
        return directory.enter(name)
    except FileNotFoundError:
        raise
    except OSError as error:
        objects = directory.objects
        if error.errno in _MAYBE_LINK:
            _expand(directory, todo, index, links)
            place = directory.place(name)
            if place.is_dir:  # it was a link until just now
                raise _Detour(todo) from None
            objects += (identity_of(place.info) if place.info else None,)
        raise Unreachable(_joined(todo), objects, error) from error


def _arrive(directory: Directory, todo: list[str], links: list[str], *, follow: bool) -> Place:
    if not todo:
        return directory.place(".")
    if todo[-1] == "..":
        raise _Detour(todo[:-2])
    try:
        place = directory.place(todo[-1])
    except OSError as error:
        raise Unreachable(_joined(todo), directory.objects, error) from error
    if follow and place.is_link:
        _expand(directory, todo, len(todo) - 1, links)
        raise _Detour(todo)  # it is no link any more
    return place


def _missing(directory: Directory, todo: list[str], index: int) -> Place:
    """Return a place below directories that are not there yet; what is not there is no link, so `..` is one name back."""
    known, rest = todo[:index], todo[index:]
    if ".." not in rest:
        return Place(directory, rest[-1], None, missing=tuple(rest[:-1]))
    for name in rest:
        if name != "..":
            known.append(name)
        elif known:
            known.pop()
    raise _Detour(known)


def _expand(directory: Directory, todo: list[str], index: int, links: list[str]) -> None:
    """Start anew with the text of a link in its place; return where there is none."""
    name = todo[index]
    try:
        text = os.readlink(name, dir_fd=directory.descriptor)
    except OSError:
        return
    place = directory.below(name)
    if directory.shows_processes and os.fstat(directory.descriptor).st_ino != _PROC_ROOT:
        refuse(place, "use", "it is a link into a process, which leads where its text does not say")
    links.append(place)
    known = [] if text.startswith("/") else todo[:index]
    parts = [part for part in text.split("/") if part not in ("", ".")]
    while parts and parts[0] == "..":  # what is known holds no link, so a step back is one name
        known, parts = known[:-1], parts[1:]
    raise _Detour(known + parts + todo[index + 1 :], last=index == len(todo) - 1)


def _ask_the_system(directory: Directory) -> None:
    """Take the path of an open directory from the system, which knows of a rename meanwhile and of the true spelling."""
    path = path_of(directory.descriptor)
    if path is not None and path != directory.path:
        directory.path = path


def _joined(todo: list[str]) -> str:
    return os.path.normpath("/" + "/".join(todo))


def refuse(path: str, verb: str, reason: str) -> NoReturn:
    """Raise `PATH_DENIED` for what may not be done with a path."""
    shown = _shown(path.replace("\0", "\\0"))
    raise ActionError(
        "PATH_DENIED", f"may not {verb} {shown}: {reason}", retryable=False, details={"path": shown, "reason": reason}
    )


def unusable(path: str, number: int) -> ActionError:
    """Return the error for a path that the system does not take."""
    shown = _shown(path)
    return ActionError(
        "EXECUTION_ERROR",
        f"cannot use {shown}: {os.strerror(number).lower()}",
        retryable=False,
        details={"errno": errno.errorcode.get(number, str(number)), "path": shown},
    )


def _shown(path: str) -> str:
    """Return a path as text that can be told: a link or the working directory may bring bytes that are no UTF-8."""
    return _SURROGATES.sub("\ufffd", path)
