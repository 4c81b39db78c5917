"""The promises of `SecretTable`, as checks of `check_store`."""

from __future__ import annotations

from collections.abc import Awaitable

from opcode_kernel.errors import ConflictError
from opcode_kernel.store.base import SecretRow, SecretUse, Store


async def _conflicts(attempt: Awaitable[None]) -> None:
    try:
        await attempt
    except ConflictError:
        return
    raise AssertionError("expected a ConflictError")


async def _secrets_keep_what_is_known_of_them(store: Store) -> None:
    row = SecretRow("a", b"one", 1, 1, "beef", 1, ("deploy", "a,b"), ("api.example",))
    await store.put_secret(row)
    assert await store.secret("a") == row
    await store.put_secret(row._replace(templates=(), hosts=(), version=9))
    assert await store.secret("a") == row._replace(templates=(), hosts=(), version=2)
    await store.put_secret(row)
    assert await store.secret("a") == row._replace(version=3)


async def _a_secret_is_replaced_only_over_what_was_looked_at(store: Store) -> None:
    await store.change_vault(None, "p1")
    plain, use = SecretRow("a", b"one", 1, 1, "k1"), SecretUse(1, "a", "set", "cli")
    bounded = plain._replace(value=b"two", templates=("t",), hosts=("h",))
    await _conflicts(store.put_secret(plain, under="p1", before=plain, use=use))
    await _conflicts(store.put_secret(plain, under="p0", use=use))
    assert (await store.secrets(), await store.secret_uses()) == ([], [])
    await store.put_secret(bounded, under="p1", use=use)
    for before in (None, plain, bounded._replace(hosts=()), bounded._replace(templates=("t", "u"))):
        await _conflicts(store.put_secret(plain, under="p1", before=before, use=use))
    assert (await store.secrets(), await store.secret_uses()) == ([bounded], [use])
    await store.put_secret(plain, under="p1", before=bounded._replace(value=b"another value"), use=use)
    assert (await store.secrets(), await store.secret_uses()) == ([plain._replace(version=2)], [use, use])


async def _the_vault_changes_as_a_whole_or_not_at_all(store: Store) -> None:
    await store.change_vault(None, "p1")
    await _conflicts(store.change_vault(None, "other"))
    a, b = SecretRow("a", b"a1", 1, 1, "k1"), SecretRow("b", b"b1", 1, 1, "k1")
    await store.put_secret(a, under="p1")
    await store.put_secret(b, under="p1")
    use = SecretUse(1, "*", "rotate", "cli")
    new = [(row, row._replace(value=row.value + b"'", key_id="k2", created_at=9, version=9)) for row in (a, b)]
    stale = [(a._replace(value=b"a0"), a), *new[1:]]
    for before, rows in (("p0", new), ("p1", new[:1]), ("p1", stale)):
        await _conflicts(store.change_vault(before, "p2", rows, use))
    assert (await store.get_meta("vault"), await store.secrets()) == ("p1", [a, b])
    assert await store.secret_uses() == []
    await store.change_vault("p1", "p2", new, use)
    assert (await store.get_meta("vault"), await store.secret_uses()) == ("p2", [use])
    assert await store.secrets() == [a._replace(value=b"a1'", key_id="k2"), b._replace(value=b"b1'", key_id="k2")]


async def _uses_of_secrets_are_found_newest_first(store: Store) -> None:
    uses = [
        SecretUse(1, "a", "set", "cli"), SecretUse(2, "b", "resolve", "me", "r", "t", "each.iter_0.s"),
        SecretUse(3, "*", "rotate", "cli"), SecretUse(3, "a", "delete", "cli"),
    ]  # fmt: skip
    await store.add_secret_uses(uses[:1])
    await store.add_secret_uses(uses[1:])
    assert await store.secret_uses() == uses[::-1]
    assert await store.secret_uses(name="b") == [uses[2], uses[1]]
    assert await store.secret_uses(limit=1) == [uses[3]]


async def _a_deletion_is_written_down_with_it(store: Store) -> None:
    use = SecretUse(1, "a", "delete", "cli")
    assert not await store.delete_secret("a", use)
    assert await store.secret_uses() == []
    await store.put_secret(SecretRow("a", b"one", 1, 1))
    assert await store.delete_secret("a", use)
    assert await store.secret_uses() == [use]


async def _old_uses_of_secrets_are_forgotten(store: Store) -> None:
    uses = [SecretUse(at, "a", "read") for at in (9, 1, 2, 3, 4, 5, 6)]  # the clock was put back after the first
    await store.add_secret_uses(uses)
    # What is not old may stand before what is: each piece is full all the same until nothing is left.
    for gone in (2, 1, 0):
        assert await store.prune_secret_uses(before=4, keep=100, at_once=2) == gone
    assert await store.secret_uses() == [*reversed(uses[4:]), uses[0]]
    assert await store.prune_secret_uses(before=0, keep=2, at_once=100) == 2
    assert await store.secret_uses() == [uses[6], uses[5]]
    assert await store.prune_secret_uses(before=100, keep=100, at_once=100) == 2
    assert await store.prune_secret_uses(before=100, keep=100, at_once=100) == 0
    assert await store.secret_uses() == []


SECRET_CHECKS = (
    _secrets_keep_what_is_known_of_them,
    _a_secret_is_replaced_only_over_what_was_looked_at,
    _a_deletion_is_written_down_with_it,
    _old_uses_of_secrets_are_forgotten,
    _the_vault_changes_as_a_whole_or_not_at_all,
    _uses_of_secrets_are_found_newest_first,
)
