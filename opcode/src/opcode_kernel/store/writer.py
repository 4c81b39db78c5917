"""Group commit: one thread with the one connection that writes, and that alone checkpoints.

Callers hand in work and are woken per batch. While a batch is being synced the next one gathers, so the cost of
making a commit durable is shared by all who wait. The queue needs no bound: every entry has a caller waiting for it.
Only the standard library is used here; waking callers is the business of `deliver`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, NamedTuple

from opcode_kernel.errors import ConflictError, OpcodeError, StoreError
from opcode_kernel.store.unit import Unit

#: An append, or a function that writes and returns something; each is all or nothing.
Work = Unit | Callable[[sqlite3.Connection], Any]

# Bounds how long one transaction holds back the callers in it. Several times what is ever in flight at once.
_BATCH = 512
# Last sequences kept in memory, so that a running log needs no query; forgotten ones are read again.
_TAILS = 10_000


class Outcome(NamedTuple):
    """What became of one piece of work; `ticket` is the caller's, `error` is None when it was committed."""

    ticket: Any
    result: Any
    error: OpcodeError | None


class Writer:
    """The writing thread. `open_connection` runs in it; `deliver` is called from it with the outcomes of a batch."""

    def __init__(
        self, open_connection: Callable[[], sqlite3.Connection], deliver: Callable[[list[Outcome]], None]
    ) -> None:
        self._open_connection = open_connection
        self._deliver = deliver
        self._queue: SimpleQueue[tuple[Any, Work | None]] = SimpleQueue()
        self._tails: dict[str, int] = {}
        # A daemon, because a disk that hangs must not keep the process from ending.
        self._thread = Thread(target=self._serve, name="opcode-store-writer", daemon=True)
        self._opening: Any = None
        #: Set after every batch; whoever wants to wait for the next one clears it.
        self.batch_done = Event()

    def start(self, ticket: Any) -> None:
        """Start the thread; the ticket is settled when the database is open, or with the reason why it is not."""
        self._opening = ticket
        self._thread.start()

    def submit(self, ticket: Any, work: Work) -> None:
        """Queue work; never blocks."""
        self._queue.put((ticket, work))

    def stop(self, ticket: Any) -> None:
        """End the thread after all work submitted before; the ticket is settled when the file is closed."""
        self._queue.put((ticket, None))

    def join(self) -> None:
        """Wait for the thread itself; returns at once after the ticket of `stop` was settled."""
        self._thread.join()

    def _serve(self) -> None:
        try:
            connection = self._open_connection()
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller waits for it
            self._deliver([Outcome(self._opening, None, _store_error(error))])
            return
        self._deliver([Outcome(self._opening, None, None)])
        closing = None
        while closing is None:
            batch, closing = self._take()
            if batch:
                self._deliver(self._commit(connection, batch))
                self.batch_done.set()
        self._deliver([Outcome(closing[0], None, _close(connection))])

    def _take(self) -> tuple[list[tuple[Any, Work]], tuple[Any, None] | None]:
        """Wait for work and take all there is; second, the request to stop if it was reached."""
        batch: list[tuple[Any, Work]] = []
        while not batch or (len(batch) < _BATCH and not self._queue.empty()):
            ticket, work = self._queue.get()
            if work is None:
                return batch, (ticket, None)
            batch.append((ticket, work))
        return batch, None

    def _commit(self, connection: sqlite3.Connection, batch: list[tuple[Any, Work]]) -> list[Outcome]:
        try:
            return self._together(connection, batch)
        except Exception as error:  # noqa: BLE001 - this thread outlives any work
            _roll_back(connection)
            if len(batch) == 1:
                return [Outcome(batch[0][0], None, _store_error(error))]
        try:
            return self._one_by_one(connection, batch)
        except Exception as error:  # noqa: BLE001 - the same
            _roll_back(connection)
            return [Outcome(ticket, None, _store_error(error)) for ticket, _ in batch]

    def _together(self, connection: sqlite3.Connection, batch: list[tuple[Any, Work]]) -> list[Outcome]:
        """Write the whole batch, appends joined into as few statements as possible."""
        outcomes: list[Outcome] = []
        tails: dict[str, int] = {}
        joined = Unit()
        connection.execute("BEGIN IMMEDIATE")
        for ticket, work in batch:
            result = None
            if isinstance(work, Unit):
                self._check(connection, work, tails)
                joined.extend(work)
            else:
                joined.write(connection)
                joined = Unit()
                result = work(connection)
            outcomes.append(Outcome(ticket, result, None))
        joined.write(connection)
        connection.execute("COMMIT")
        self._remember(tails)
        return outcomes

    def _one_by_one(self, connection: sqlite3.Connection, batch: list[tuple[Any, Work]]) -> list[Outcome]:
        """Write what can be written: still one commit, and only who caused an error gets it."""
        outcomes: list[Outcome] = []
        tails: dict[str, int] = {}
        connection.execute("BEGIN IMMEDIATE")
        for ticket, work in batch:
            result, error, moved = None, None, dict[str, int]()
            connection.execute("SAVEPOINT work")
            try:
                if isinstance(work, Unit):
                    self._check(connection, work, moved)
                    work.write(connection)
                else:
                    result = work(connection)
                tails.update(moved)
            except Exception as reason:
                if not connection.in_transaction:
                    raise  # a full disk or the like undid the work of the others too
                connection.execute("ROLLBACK TO work")
                error = _store_error(reason)
            connection.execute("RELEASE work")
            outcomes.append(Outcome(ticket, result, error))
        connection.execute("COMMIT")
        self._remember(tails)
        return outcomes

    def _check(self, connection: sqlite3.Connection, unit: Unit, tails: dict[str, int]) -> None:
        """Refuse events that do not continue their log; `tails` holds what this transaction moved so far."""
        for run_id, first, last in unit.spans:
            tail = tails.get(run_id, self._tails.get(run_id))
            if tail != first - 1 and run_id not in tails and not (tail is None and first == 1):
                tail = _stored_tail(connection, run_id)
            # The first event of an unknown run needs no look: the unique index refuses a second one.
            if tail is not None and tail != first - 1:
                raise ConflictError(
                    f"expected event {tail + 1} of run {run_id}, found {first}: another writer was here"
                )
            tails[run_id] = last

    def _remember(self, tails: dict[str, int]) -> None:
        if len(self._tails) > _TAILS:
            self._tails.clear()
        self._tails.update(tails)


def _stored_tail(connection: sqlite3.Connection, run_id: str) -> int:
    query = "SELECT coalesce(max(sequence), 0) FROM events WHERE run_id = ?"
    (tail,) = connection.execute(query, (run_id,)).fetchone()
    return int(tail)


def _store_error(error: Exception) -> OpcodeError:
    if isinstance(error, OpcodeError):
        return error
    if isinstance(error, sqlite3.IntegrityError):
        text = str(error)
        if "runs.start_key" in text:
            return ConflictError("a run of this agent with this start key exists already")
        if "events.sequence" in text:
            return ConflictError("these events of the run exist already: another writer was here")
        return StoreError(f"the database refused a row: {text}", retryable=False)
    if isinstance(error, sqlite3.Error):
        return StoreError(f"the database failed: {error}; check the disk and that no other process holds the file")
    return StoreError(f"cannot store a value: {type(error).__name__}: {error}", retryable=False)


def _roll_back(connection: sqlite3.Connection) -> None:
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        pass  # the next BEGIN fails and says why


def _close(connection: sqlite3.Connection) -> OpcodeError | None:
    try:
        connection.close()
    except sqlite3.Error as error:
        return _store_error(error)
    return None
