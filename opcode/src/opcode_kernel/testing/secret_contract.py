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
    await store.put_secret(row._replace(templates=("x",), hosts=("y",)), keep=["hosts"])
    assert await store.secret("a") == row._replace(templates=("x",), version=4)
    await store.put_secret(row._replace(templates=(), hosts=()), keep=["templates", "hosts"])
    assert await store.secret("a") == row._replace(templates=("x",), version=5)


async def _the_vault_changes_as_a_whole_or_not_at_all(store: Store) -> None:
    await store.change_vault(None, "p1")
    await _conflicts(store.change_vault(None, "other"))
    a, b = SecretRow("a", b"a1", 1, 1, "k1"), SecretRow("b", b"b1", 1, 1, "k1")
    await store.put_secret(a, under="p1")
    await store.put_secret(b, under="p1")
    await _conflicts(store.put_secret(a._replace(value=b"late"), under="p0"))
    new = [(row, row._replace(value=row.value + b"'", key_id="k2", created_at=9, version=9)) for row in (a, b)]
    stale = [(a._replace(value=b"a0"), a), *new[1:]]
    for before, rows in (("p0", new), ("p1", new[:1]), ("p1", stale)):
        await _conflicts(store.change_vault(before, "p2", rows))
    assert (await store.get_meta("vault"), await store.secrets()) == ("p1", [a, b])
    await store.change_vault("p1", "p2", new)
    assert await store.get_meta("vault") == "p2"
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


SECRET_CHECKS = (
    _secrets_keep_what_is_known_of_them,
    _the_vault_changes_as_a_whole_or_not_at_all,
    _uses_of_secrets_are_found_newest_first,
)
