"""From the operating system's errors to ours, and the point where long work notices that it was cancelled."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anyio import from_thread

from opcode_kernel import ActionError

#: Errors that describe the state of the files: doing the same again meets them again.
_LASTING = frozenset({
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.EPERM, errno.EROFS,
    errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EFBIG,
})  # fmt: skip


@contextmanager
def os_errors(doing: str, path: str | Path) -> Iterator[None]:
    """Turn an `OSError` of the body into `ActionError("EXECUTION_ERROR", "cannot <doing> <path>: ...")`."""
    try:
        yield
    except OSError as error:
        raise os_failure(doing, path, error.errno or errno.EIO) from error


def os_failure(doing: str, path: str | Path, number: int) -> ActionError:
    """Return the error for an errno, with its symbol in `details.errno`; lasting ones are not retried."""
    return ActionError(
        "EXECUTION_ERROR",
        f"cannot {doing} {shown(path)}: {os.strerror(number).lower()}",
        retryable=number not in _LASTING,
        details={"errno": errno.errorcode.get(number, str(number)), "path": shown(path)},
    )


def invalid(message: str, path: str | Path) -> ActionError:
    """Return the error for a request that no file could satisfy."""
    return ActionError("VALIDATION_ERROR", message, details={"path": shown(path)})


def denied(doing: str, path: str | Path, reason: str) -> ActionError:
    """Return the error for what the rules do not list and still must not happen."""
    return ActionError(
        "PATH_DENIED", f"may not {doing} {shown(path)}: {reason}", retryable=False,
        details={"path": shown(path), "reason": reason},
    )  # fmt: skip


def shown(path: str | Path) -> str:
    """Return a path as text that is valid UTF-8; bytes of a name that are not become U+FFFD."""
    return os.fsencode(path).decode(errors="replace")


def check_cancelled() -> None:
    """Raise the cancellation of the step, if there is one. Called between pieces of work of bounded size."""
    try:
        from_thread.check_cancelled()
    except RuntimeError:
        return  # not in a worker thread of anyio: called directly, where nothing can be cancelled
