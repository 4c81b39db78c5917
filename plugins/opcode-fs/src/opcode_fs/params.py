"""What the file actions take and answer. JSON schemas, checks and the reference come from these declarations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypedDict

from opcode_kernel import FreeText, Param

PathText = Annotated[str, Param("file or directory; relative to the working directory of the daemon", min_length=1)]
CreateDirs = Annotated[bool, Param("create missing parent directories with mode 0755")]
AbsolutePath = Annotated[str, Param("the absolute path, links not resolved")]
ByteCount = Annotated[int, Param("bytes", ge=0)]
Timestamp = Annotated[str, Param("RFC 3339, UTC, whole seconds")]


@dataclass(frozen=True, slots=True)
class ReadParams:
    """The parameters of `fs.read`."""

    path: PathText
    encoding: Annotated[
        Literal["text", "base64", "auto"],
        Param("auto: base64 for data with a NUL byte or that is not UTF-8, else text"),
    ] = "auto"


@dataclass(frozen=True, slots=True)
class WriteParams:
    """The parameters of `fs.write`."""

    path: PathText
    content: Annotated[FreeText, Param("what to write, as UTF-8; may be empty")]
    create_dirs: CreateDirs = False
    mode: Annotated[
        int | str,
        Param('permission bits of a new file, minus the umask: 420, or octal text with a leading zero "0644"'),
    ] = 0o644
    encoding: Annotated[Literal["text", "base64"], Param("base64: content spells the bytes to write")] = "text"
    atomic: Annotated[bool, Param("replace the file in one move; false rewrites it in place")] = True


@dataclass(frozen=True, slots=True)
class AppendParams:
    """The parameters of `fs.append`."""

    path: PathText
    content: Annotated[FreeText, Param("text to add at the end, as UTF-8")]
    create_dirs: CreateDirs = False


@dataclass(frozen=True, slots=True)
class DeleteParams:
    """The parameters of `fs.delete`."""

    path: PathText
    recursive: Annotated[bool, Param("delete a directory with all it holds; a missing path is no error")] = False


@dataclass(frozen=True, slots=True)
class ListParams:
    """The parameters of `fs.list`."""

    path: PathText
    pattern: Annotated[
        str, Param("glob over names, or over relative paths when it contains / (** spans directories)", max_length=1024)
    ] = ""
    recursive: Annotated[bool, Param("list all levels, not only the first")] = False
    max_entries: Annotated[
        int | None,
        Param("stop after this many entries and say truncated; default fs.max_list_entries", ge=1, le=100_000),
    ] = None


@dataclass(frozen=True, slots=True)
class StatParams:
    """The parameters of `fs.stat`."""

    path: PathText


@dataclass(frozen=True, slots=True)
class CopyParams:
    """The parameters of `fs.copy`."""

    src: PathText
    dst: Annotated[str, Param("the copy itself, not a directory to put it in", min_length=1)]
    create_dirs: CreateDirs = False


@dataclass(frozen=True, slots=True)
class MoveParams:
    """The parameters of `fs.move`."""

    src: PathText
    dst: Annotated[str, Param("the new path itself, not a directory to put it in", min_length=1)]
    create_dirs: CreateDirs = False
    overwrite: Annotated[bool, Param("false: an existing dst is a CONFLICT")] = True


class ReadOutput(TypedDict):
    """The output of `fs.read`."""

    path: AbsolutePath
    content: Annotated[str, Param("the text, or the bytes as base64")]
    encoding: Annotated[Literal["text", "base64"], Param("how content spells the bytes")]
    size: Annotated[int, Param("bytes in content", ge=0)]
    truncated: Annotated[bool, Param("whether the file is larger than fs.max_read_bytes and was cut")]
    total_size: Annotated[int, Param("bytes in the file", ge=0)]


class WriteOutput(TypedDict):
    """The output of `fs.write`, and of `fs.append` where `size` is that of the whole file."""

    path: AbsolutePath
    size: ByteCount


class DeleteOutput(TypedDict):
    """The output of `fs.delete`."""

    path: AbsolutePath
    deleted: Annotated[bool, Param("always true")]
    existed: Annotated[bool, Param("whether there was anything to delete")]


class ListEntry(TypedDict):
    """One entry of a listing. A link is described itself, not its target."""

    name: str
    path: str
    size: Annotated[int | None, Param("bytes; null where this user may not look at the entry", ge=0)]
    modified_at: Annotated[str | None, Param("RFC 3339, UTC, whole seconds; null where size is")]
    is_dir: Annotated[bool, Param("whether it is a directory")]
    is_symlink: Annotated[bool, Param("whether it is a symbolic link")]


class ListError(TypedDict):
    """A directory that could not be looked into."""

    path: str
    message: str
    errno: str


class ListOutput(TypedDict):
    """The output of `fs.list`."""

    path: AbsolutePath
    entries: Annotated[list[ListEntry], Param("in lexical order, a directory before what it holds")]
    truncated: Annotated[bool, Param("whether there were more than max_entries")]
    errors: Annotated[list[ListError], Param("directories that were skipped because they cannot be read")]


class StatOutput(TypedDict):
    """The output of `fs.stat`: the target of a link, and whether the path is one."""

    path: AbsolutePath
    size: ByteCount
    modified_at: Timestamp
    mtime_ns: Annotated[int, Param("modification time in nanoseconds since 1970")]
    is_dir: Annotated[bool, Param("whether it is a directory")]
    is_symlink: Annotated[bool, Param("whether it is a symbolic link")]
    permissions: Annotated[str, Param("the nine permission bits as four octal digits")]


class TransferOutput(TypedDict):
    """The output of `fs.copy` and `fs.move`."""

    src: AbsolutePath
    dst: AbsolutePath
    size: Annotated[int, Param("bytes in all files", ge=0)]
    is_dir: Annotated[bool, Param("whether it is a directory")]
