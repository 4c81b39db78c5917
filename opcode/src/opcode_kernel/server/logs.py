"""Logging of the daemon and the commands: one JSON object per line on stderr, `time`, `level`, `msg` first.

Correlation ids come from context variables: whatever is logged while a request, a run or a step is handled carries
their ids without anyone passing them along. Records of libraries (standard `logging`) take the same way out, and the last
thing that happens to a record is that known secrets are masked, wherever they came from.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from opcode_kernel.core.holes import MASK
from opcode_kernel.runtime.redaction import open_redactors
from opcode_kernel.server.readable import json_text

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_NAMES = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR", "critical": "ERROR"}

#: Libraries that talk too much at info; what they have to say at warning is kept.
_QUIET = (
    "uvicorn",
    "mcp",
    "sse_starlette",
    "asyncio",
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "hpack",
    "tortoise",
    "aiosqlite",
    "db_client",
)
#: Libraries that write out headers at debug, credentials included.
_WIRE = ("httpcore", "httpcore2", "hpack")


def configure(
    level: str, *, stream: TextIO | None = None, take: Callable[[Mapping[str, Any]], bool] | None = None
) -> None:
    """Send everything to `stream` (stderr) from now on; may be called again to change the level.

    A record for which `take` returns True is not written: it was shown otherwise, or is not wanted.
    """

    def left(_logger: Any, _method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if take is not None and take(record):
            raise structlog.DropEvent
        return record

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            left,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge())
    root.setLevel(_LEVELS[level])
    for name in _QUIET:
        talks = level == "debug" and name not in _WIRE
        logging.getLogger(name).setLevel(logging.DEBUG if talks else logging.WARNING)


def get_logger() -> Any:
    """Return the logger of the server room; keyword arguments of its methods become fields."""
    return structlog.get_logger()


def bind(**ids: str | None) -> Any:
    """Return a context manager under which every record carries these ids (None is left out)."""
    return structlog.contextvars.bound_contextvars(**{key: value for key, value in ids.items() if value is not None})


def _render(_logger: Any, _method: str, record: MutableMapping[str, Any]) -> str:
    head = {"time": record.pop("time"), "level": _NAMES.get(record.pop("level"), "INFO")}
    message = {"msg": record.pop("event")}
    try:
        body = json_text({**message, **record}, default=repr)
    except (TypeError, ValueError, RecursionError):
        # A record that cannot be written must not fail what it tells of.
        body = json_text({**message, "note": "its fields are no JSON"}, default=repr)
    return f"{json_text(head)[:-1]},{_hidden(body)[1:]}"


def _hidden(body: str) -> str:
    """Return the text of a record in which no secret stands that any engine of this process has fetched."""
    for redactor in open_redactors():
        if redactor.text(body) == body:
            continue
        body = json_text(redactor.value(json.loads(body)))
        if redactor.text(body) != body:  # it does not stand in one field, but is made of several and what is between
            return json_text({"msg": MASK, "note": "a record that showed a secret was withheld"})
    return body


#: What every record of standard `logging` has; anything else on one came as `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "event", "color_message"}


class _Bridge(logging.Handler):
    """Takes records of standard `logging` and writes them in the house format."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        level = level if record.levelno >= logging.WARNING else "info" if record.levelno >= logging.INFO else "debug"
        fields: dict[str, Any] = {"logger": record.name}
        fields |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        getattr(structlog.get_logger(), level)(record.getMessage(), **fields)
