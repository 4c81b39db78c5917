"""What check and use have in common: an open directory, and a name in it.

Nothing here takes a path. A name is one component, and every call goes through the descriptor of its directory, so
the object that was judged is the object that is used, whatever happens to the names above it meanwhile. No call
follows a link.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from opcode_kernel.plugin.paths.system import PASS, PLAIN, Identity, identity_of, on_procfs

#: What a file system without hard links says, and one where this user may not make this one.
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK)


@dataclass(eq=False)
class Directory:
    """An open directory. `objects` identifies it and every directory above it; leaving the context closes it."""

    descriptor: int
    path: str
    objects: tuple[Identity | None, ...]

    @classmethod
    def root(cls) -> Self:
        """Open the root of all names."""
        return cls._opened(os.open("/", PASS), "/", ())

    @classmethod
    def _opened(cls, descriptor: int, path: str, above: tuple[Identity | None, ...]) -> Self:
        try:
            return cls(descriptor, path, (*above, identity_of(os.fstat(descriptor))))
        except OSError:  # a server of files that went away
            os.close(descriptor)
            raise

    def enter(self, name: str) -> Self:
        """Open a directory in this one.

        Raises:
            OSError: also where the name is a link, even one to a directory.
        """
        return self._opened(os.open(name, PASS, dir_fd=self.descriptor), self.below(name), self.objects)

    def below(self, name: str) -> str:
        """Return the path of a name in this directory."""
        return self.path if name == "." else f"{self.path if self.path != '/' else ''}/{name}"

    def place(self, name: str) -> Place:
        """Look at a name. The place is usable as long as this directory is open."""
        return Place(self, name, _status(self, name))

    def names(self) -> Iterator[str]:
        """Yield the names in this directory in no order."""
        return (name for name, _ in self.kinds())

    def kinds(self) -> Iterator[tuple[str, int]]:
        """Yield the names in this directory in no order, each with what the listing itself says of it.

        That is `stat.S_IFDIR` or `stat.S_IFLNK`; 0 for anything else, and where it does not say.
        """
        descriptor = self._open_for_names()
        try:
            with os.scandir(descriptor) as found:
                for each in found:
                    yield each.name, _kind(each)
        finally:
            os.close(descriptor)

    def _open_for_names(self) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            return os.open(".", flags, dir_fd=self.descriptor)
        except PermissionError:
            # To go through it takes another right than to read its names, and this way takes only the latter.
            with suppress(FileNotFoundError):
                return os.open(f"/proc/self/fd/{self.descriptor}", flags)
            raise

    def sync(self) -> None:
        """Make names in this directory outlive a power loss, where the file system and the rights allow it."""
        with suppress(OSError):
            descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.descriptor)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    @cached_property
    def shows_processes(self) -> bool:
        """Whether this is on a file system of processes such as /proc."""
        own = self.objects[-1]
        return own is not None and on_procfs(self.descriptor, own[0])

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(eq=False, slots=True)
class Place:
    """A name in an open directory, and what was there when it was looked at: `info`, or None for nothing.

    `missing` names directories that do not exist yet between the directory and the name; `links` says where the links
    are that led here, `through_link` whether the last component of the given path was one. As a context it closes its
    directory: only for who got it from `PathGuard.reach`.
    """

    directory: Directory
    name: str
    info: os.stat_result | None
    missing: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    through_link: bool = False

    @property
    def path(self) -> str:
        """The absolute path, free of links when it was resolved."""
        name = "/".join((*self.missing, self.name)) if self.missing else self.name
        return self.directory.below(name)

    @property
    def is_dir(self) -> bool:
        """Whether a directory was there; a link to one is not."""
        return self.info is not None and stat.S_ISDIR(self.info.st_mode)

    @property
    def is_link(self) -> bool:
        """Whether a link was there."""
        return self.info is not None and stat.S_ISLNK(self.info.st_mode)

    def look(self) -> None:
        """Look again at what is there."""
        self.info = _status(self.directory, self.name)

    def beside(self, name: str) -> Place:
        """Return the place of another name in the same directory, without looking."""
        return Place(self.directory, name, None, self.missing)

    def open(self, flags: int, mode: int = 0o600) -> int:
        """Open what the name means now and return a descriptor; a link there is an error, nothing is waited for."""
        return os.open(self.name, flags | PLAIN, mode, dir_fd=self._within())

    def enter(self) -> Directory:
        """Open the directory of this name; a link there is an error."""
        self._within()
        return self.directory.enter(self.name)

    def make_directory(self, mode: int) -> None:
        """Create a directory of this name."""
        os.mkdir(self.name, mode, dir_fd=self._within())

    def make_link(self, text: str) -> None:
        """Create a link of this name with the given text."""
        os.symlink(text, self.name, dir_fd=self._within())

    def read_link(self) -> str:
        """Return the text of the link."""
        return os.readlink(self.name, dir_fd=self._within())

    def remove(self) -> None:
        """Delete a file or a link."""
        os.unlink(self.name, dir_fd=self._within())

    def remove_directory(self) -> None:
        """Delete an empty directory."""
        os.rmdir(self.name, dir_fd=self._within())

    def rename(self, target: Place, *, replace: bool = True) -> None:
        """Give what is here the name of another place, in one move.

        Raises:
            FileExistsError: without `replace`, when something is there, also when it appeared just now.
        """
        if replace:
            self._rename(target)
        elif self.is_dir:
            target.make_directory(0o700)  # ours and empty, so a rename may take its place
            try:
                self._rename(target)
            except OSError:
                with suppress(OSError):
                    target.remove_directory()
                raise
        else:
            self._take_free_name(target)

    def _take_free_name(self, target: Place) -> None:
        source, into = self._within(), target._within()
        try:
            os.link(self.name, target.name, src_dir_fd=source, dst_dir_fd=into, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            if _status(target.directory, target.name) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            self._rename(target)
        else:
            self.remove()

    def _rename(self, target: Place) -> None:
        os.rename(self.name, target.name, src_dir_fd=self._within(), dst_dir_fd=target._within())

    def _within(self) -> int:
        """Return the descriptor that the name is in."""
        if self.missing:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return self.directory.descriptor

    def close(self) -> None:
        """Close the directory."""
        self.directory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _kind(entry: os.DirEntry[str]) -> int:
    try:
        if entry.is_symlink():
            return stat.S_IFLNK
        return stat.S_IFDIR if entry.is_dir(follow_symlinks=False) else 0
    except OSError:  # a file system whose listings do not say, and an entry that may not be looked at
        return 0


def _status(directory: Directory, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return None
