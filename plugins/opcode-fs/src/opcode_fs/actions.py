"""The eight actions. They wait for the disk, so each runs in a worker thread."""

from __future__ import annotations

import errno
import stat

from opcode_fs import files, writing
from opcode_fs import params as p
from opcode_fs.content import decode_content, encode_content, encode_text, parse_mode
from opcode_fs.failures import os_errors, os_failure, shown
from opcode_fs.listing import Listing, timestamp
from opcode_fs.removal import Removal
from opcode_fs.transfer import copy_path, move_path
from opcode_kernel import ActionContext, Json, PathGuard, absolute_path, action


@action("fs.read", summary="Read a file as text, or as base64 when it is not text", params=p.ReadParams,
        output=p.ReadOutput, effect="idempotent", blocking=True)  # fmt: skip
def read(ctx: ActionContext, params: p.ReadParams) -> Json:
    """Read up to `max_read_bytes` of a file."""
    rules = ctx.policy.paths
    guard, absolute = PathGuard.of(rules), absolute_path(params.path)
    with os_errors("read", absolute), guard.reach("read", params.path) as place:
        data, total = files.read_up_to(guard, place, rules.max_read_bytes)
    cut = total > len(data)
    content, encoding, size = decode_content(data, params.encoding, cut=cut)
    return {
        "path": shown(absolute), "content": content, "encoding": encoding, "size": size, "truncated": cut,
        "total_size": total,
    }  # fmt: skip


@action("fs.write", summary="Create a file or replace its content", params=p.WriteParams, output=p.WriteOutput,
        blocking=True)  # fmt: skip
def write(ctx: ActionContext, params: p.WriteParams) -> Json:
    """Write a file, whole or not at all unless `atomic` is false."""
    data = encode_content(params.content, params.encoding)
    mode = parse_mode(params.mode)
    guard, absolute = PathGuard.of(ctx.policy.paths), absolute_path(params.path)
    with os_errors("write", absolute), guard.reach("write", params.path) as place:
        if params.create_dirs:
            files.make_parents(guard, place)
        (writing.write_atomic if params.atomic else writing.write_in_place)(guard, place, data, mode)
    return {"path": shown(absolute), "size": len(data)}


@action("fs.append", summary="Add text to the end of a file, creating it when missing", params=p.AppendParams,
        output=p.WriteOutput, blocking=True)  # fmt: skip
def append(ctx: ActionContext, params: p.AppendParams) -> Json:
    """Append with one write, so that lines of several writers do not mix."""
    data = encode_text(params.content)
    guard, absolute = PathGuard.of(ctx.policy.paths), absolute_path(params.path)
    with os_errors("append to", absolute), guard.reach("write", params.path) as place:
        if params.create_dirs:
            files.make_parents(guard, place)
        size = writing.append(guard, place, data)
    return {"path": shown(absolute), "size": size}


@action("fs.delete", summary="Delete a file, a link or a directory", params=p.DeleteParams, output=p.DeleteOutput,
        blocking=True)  # fmt: skip
def delete(ctx: ActionContext, params: p.DeleteParams) -> Json:
    """Delete the entry itself; the target of a link stays."""
    rules = ctx.policy.paths
    guard, absolute = PathGuard.of(rules), absolute_path(params.path)
    with os_errors("delete", absolute), guard.reach("write", params.path, follow=False) as place:
        existed = Removal(guard, rules).delete(place, recursive=params.recursive)
    return {"path": shown(absolute), "deleted": True, "existed": existed}


@action("fs.list", summary="List a directory, optionally all levels and by pattern", params=p.ListParams,
        output=p.ListOutput, effect="idempotent", blocking=True)  # fmt: skip
def list_directory(ctx: ActionContext, params: p.ListParams) -> Json:
    """List what a directory holds, except what may not be read."""
    rules = ctx.policy.paths
    limit = rules.max_list_entries if params.max_entries is None else params.max_entries
    guard, absolute = PathGuard.of(rules), absolute_path(params.path)
    with os_errors("list", absolute), guard.reach("read", params.path) as place:
        if place.info is None:
            raise os_failure("list", absolute, errno.ENOENT)
        files.require_ordinary("list", place)
        with guard.enter("read", place) as directory:
            listing = Listing(guard, rules, directory, absolute)
            return listing.answer(pattern=params.pattern, recursive=params.recursive, limit=limit)


@action("fs.stat", summary="Describe a file or directory", params=p.StatParams, output=p.StatOutput,
        effect="idempotent", blocking=True)  # fmt: skip
def stat_path(ctx: ActionContext, params: p.StatParams) -> Json:
    """Describe the target of a path, and say whether the path is a link."""
    guard, absolute = PathGuard.of(ctx.policy.paths), absolute_path(params.path)
    with os_errors("stat", absolute), guard.reach("read", params.path) as place:
        info = place.info
        if info is None:
            raise os_failure("stat", absolute, errno.ENOENT)
        files.require_ordinary("stat", place)
        is_link = place.through_link
    return {
        "path": shown(absolute), "size": info.st_size, "modified_at": timestamp(info), "mtime_ns": info.st_mtime_ns,
        "is_dir": stat.S_ISDIR(info.st_mode), "is_symlink": is_link, "permissions": f"{info.st_mode & 0o777:04o}",
    }  # fmt: skip


@action("fs.copy", summary="Copy a file, or a directory with all it holds", params=p.CopyParams,
        output=p.TransferOutput, blocking=True)  # fmt: skip
def copy(ctx: ActionContext, params: p.CopyParams) -> Json:
    """Copy after checking every entry; links are copied as links."""
    rules = ctx.policy.paths
    guard, src, dst = PathGuard.of(rules), absolute_path(params.src), absolute_path(params.dst)
    with (
        os_errors("copy", src), guard.reach("read", params.src) as source,
        os_errors("copy to", dst), guard.reach("write", params.dst) as target,
    ):  # fmt: skip
        done = copy_path(guard, rules, source, target, create_dirs=params.create_dirs)
    return {"src": shown(src), "dst": shown(dst), "size": done.size, "is_dir": done.is_dir}


@action("fs.move", summary="Move or rename a file or directory", params=p.MoveParams, output=p.TransferOutput,
        blocking=True)  # fmt: skip
def move(ctx: ActionContext, params: p.MoveParams) -> Json:
    """Move the entry itself; it needs write access to both ends."""
    rules = ctx.policy.paths
    guard, src, dst = PathGuard.of(rules), absolute_path(params.src), absolute_path(params.dst)
    with (
        os_errors("move", src), guard.reach("write", params.src, follow=False) as source,
        os_errors("move to", dst), guard.reach("write", params.dst, follow=False) as target,
    ):  # fmt: skip
        done = move_path(
            guard, rules, source, target, create_dirs=params.create_dirs, overwrite=params.overwrite
        )  # fmt: skip
    return {"src": shown(src), "dst": shown(dst), "size": done.size, "is_dir": done.is_dir}
