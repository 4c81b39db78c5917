"""The eight actions. They wait for the disk, so each runs in a worker thread."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

from opcode_fs import params as p
from opcode_fs.content import decode_content, encode_content, encode_text, parse_mode
from opcode_fs.failures import os_errors, os_failure, shown
from opcode_fs.files import (
    lstat_or_none,
    make_parents,
    opened,
    read_up_to,
    require_ordinary,
    write_atomic,
    write_in_place,
)
from opcode_fs.listing import list_entries, timestamp
from opcode_fs.transfer import copy_path, move_path
from opcode_fs.tree import writable_tree
from opcode_kernel import ActionContext, ActionError, Json, PathGuard, absolute_path, action


@action("fs.read", summary="Read a file as text, or as base64 when it is not text", params=p.ReadParams,
        output=p.ReadOutput, effect="idempotent", blocking=True)  # fmt: skip
def read(ctx: ActionContext, params: p.ReadParams) -> Json:
    """Read up to `max_read_bytes` of a file."""
    rules = ctx.policy.paths
    data, total = read_up_to(PathGuard.of(rules).read(params.path), rules.max_read_bytes)
    cut = total > len(data)
    content, encoding, size = decode_content(data, params.encoding, cut=cut)
    return {
        "path": absolute_path(params.path), "content": content, "encoding": encoding, "size": size,
        "truncated": cut, "total_size": total,
    }  # fmt: skip


@action("fs.write", summary="Create a file or replace its content", params=p.WriteParams, output=p.WriteOutput,
        blocking=True)  # fmt: skip
def write(ctx: ActionContext, params: p.WriteParams) -> Json:
    """Write a file, whole or not at all unless `atomic` is false."""
    data = encode_content(params.content, params.encoding)
    mode = parse_mode(params.mode)
    guard = PathGuard.of(ctx.policy.paths)
    target = guard.write(params.path)
    if params.create_dirs:
        make_parents(target, guard)
    (write_atomic if params.atomic else write_in_place)(target, data, mode)
    return {"path": absolute_path(params.path), "size": len(data)}


@action("fs.append", summary="Add text to the end of a file, creating it when missing", params=p.AppendParams,
        output=p.WriteOutput, blocking=True)  # fmt: skip
def append(ctx: ActionContext, params: p.AppendParams) -> Json:
    """Append with one write, so that lines of several writers do not mix."""
    data = encode_text(params.content)
    guard = PathGuard.of(ctx.policy.paths)
    target = guard.write(params.path)
    if params.create_dirs:
        make_parents(target, guard)
    with opened("append to", target, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as descriptor:
        written = os.write(descriptor, data)
        size = os.fstat(descriptor).st_size
    if written < len(data):
        raise ActionError(
            "EXECUTION_ERROR", f"expected to append {len(data)} bytes to {shown(target)}, the system took {written}",
            retryable=False, details={"written": written, "path": shown(target)},
        )  # fmt: skip
    return {"path": absolute_path(params.path), "size": size}


@action("fs.delete", summary="Delete a file, a link or a directory", params=p.DeleteParams, output=p.DeleteOutput,
        blocking=True)  # fmt: skip
def delete(ctx: ActionContext, params: p.DeleteParams) -> Json:
    """Delete the entry itself; the target of a link stays."""
    guard = PathGuard.of(ctx.policy.paths)
    entry = guard.entry(params.path)
    _refuse_precious("delete", entry, guard)
    with os_errors("delete", entry):
        info = lstat_or_none(entry)
        if info is not None:
            _delete(entry, info.st_mode, guard, recursive=params.recursive)
        elif not params.recursive:
            raise os_failure("delete", entry, errno.ENOENT)
    return {"path": absolute_path(params.path), "deleted": True, "existed": info is not None}


def _delete(entry: Path, mode: int, guard: PathGuard, *, recursive: bool) -> None:
    require_ordinary("delete", entry, mode)
    if not stat.S_ISDIR(mode):
        entry.unlink()
    elif recursive:
        writable_tree(entry, guard)
        shutil.rmtree(entry)
    else:
        entry.rmdir()


def _refuse_precious(doing: str, path: Path, guard: PathGuard) -> None:
    """Refuse what nobody means to lose: a mounted root, the working directory, an allowed path, or a parent of them."""
    kept = (os.path.realpath("."), *guard.roots)
    if any(Path(root).is_relative_to(path) for root in kept) or os.path.ismount(path):
        raise ActionError(
            "PATH_DENIED",
            f"may not {doing} {shown(path)}: it is or holds the root of a file system, the working directory of the"
            " daemon or a path of the settings; name what is in it instead",
            retryable=False,
            details={"path": shown(path), "reason": "precious"},
        )


@action("fs.list", summary="List a directory, optionally all levels and by pattern", params=p.ListParams,
        output=p.ListOutput, effect="idempotent", blocking=True)  # fmt: skip
def list_directory(ctx: ActionContext, params: p.ListParams) -> Json:
    """List what a directory holds, except what may not be read."""
    guard = PathGuard.of(ctx.policy.paths)
    return list_entries(
        guard.read(params.path), absolute_path(params.path), guard,
        pattern=params.pattern, recursive=params.recursive, limit=params.max_entries,
    )  # fmt: skip


@action("fs.stat", summary="Describe a file or directory", params=p.StatParams, output=p.StatOutput,
        effect="idempotent", blocking=True)  # fmt: skip
def stat_path(ctx: ActionContext, params: p.StatParams) -> Json:
    """Describe the target of a path, and say whether the path is a link."""
    target = PathGuard.of(ctx.policy.paths).read(params.path)
    absolute = absolute_path(params.path)
    with os_errors("stat", target):
        info = target.lstat()
        is_link = Path(absolute).is_symlink()
    require_ordinary("stat", target, info.st_mode)
    return {
        "path": absolute, "size": info.st_size, "modified_at": timestamp(info), "mtime_ns": info.st_mtime_ns,
        "is_dir": stat.S_ISDIR(info.st_mode), "is_symlink": is_link, "permissions": f"{info.st_mode & 0o777:04o}",
    }  # fmt: skip


@action("fs.copy", summary="Copy a file, or a directory with all it holds", params=p.CopyParams,
        output=p.TransferOutput, blocking=True)  # fmt: skip
def copy(ctx: ActionContext, params: p.CopyParams) -> Json:
    """Copy after checking every entry; links are copied as links."""
    guard = PathGuard.of(ctx.policy.paths)
    source, target = guard.read(params.src), guard.write(params.dst)
    done = copy_path(source, target, guard, create_dirs=params.create_dirs)
    return {"src": absolute_path(params.src), "dst": absolute_path(params.dst), "size": done.size,
            "is_dir": done.is_dir}  # fmt: skip


@action("fs.move", summary="Move or rename a file or directory", params=p.MoveParams, output=p.TransferOutput,
        blocking=True)  # fmt: skip
def move(ctx: ActionContext, params: p.MoveParams) -> Json:
    """Move the entry itself; it needs write access to both ends."""
    guard = PathGuard.of(ctx.policy.paths)
    source, target = guard.entry(params.src), guard.entry(params.dst)
    _refuse_precious("move", source, guard)
    done = move_path(source, target, guard, create_dirs=params.create_dirs, overwrite=params.overwrite)
    return {"src": absolute_path(params.src), "dst": absolute_path(params.dst), "size": done.size,
            "is_dir": done.is_dir}  # fmt: skip
