"""Bounds are sealed with the value: who can write the database can still not widen, lift or launder one."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from opcode_kernel.errors import VaultError
from opcode_kernel.runtime.ports import Borrower
from opcode_kernel.runtime.vault import Vault, keys, open_vault
from opcode_kernel.runtime.vault.original import take_over
from opcode_kernel.runtime.vault.parameters import Parameters
from opcode_kernel.runtime.vault.rotation import rekey, rotate
from opcode_kernel.store.base import SecretRow
from opcode_kernel.store.memory import MemoryStore
from opcode_kernel.store.tortoise import SqlStore

pytestmark = pytest.mark.anyio

STEP = Borrower("me", "run", "t", "s", "http.get")


@pytest.fixture
async def vault(store: MemoryStore) -> Vault:
    made = await open_vault(store, "pass")
    await made.set("A", "hunter2", templates=["t"], hosts=["good.example"])
    return made


async def row_of(store: MemoryStore, name: str = "A") -> SecretRow:
    row = await store.secret(name)
    assert row is not None
    return row


def sealed_before(vault: Vault, row: SecretRow, value: str) -> SecretRow:
    """Return a row as it was written before bounds were sealed."""
    key, nonce = vault.opened.key, os.urandom(keys.NONCE)
    blob = b"OPV1" + key.id + nonce + key.cipher.encrypt(nonce, value.encode(), row.name.encode())
    return row._replace(value=blob)


WIDER = [
    {"hosts": ()}, {"hosts": ("evil.example",)}, {"hosts": ("good.example", "evil.example")}, {"templates": ()},
    {"templates": ("t", "u")}, {"templates": (), "hosts": ()}, {"templates": ("good.example",), "hosts": ("t",)},
]  # fmt: skip


@pytest.mark.parametrize("change", WIDER, ids=str)
async def test_a_bound_that_something_else_changed_opens_nothing(
    store: MemoryStore, vault: Vault, change: dict[str, tuple[str, ...]]
) -> None:
    await store.put_secret((await row_of(store))._replace(**change))
    for use in (vault.get("A"), vault.peek("A")):
        with pytest.raises(VaultError, match="does not fit its name and its bounds") as caught:
            await use
        assert (caught.value.retryable, caught.value.details) == (False, {"secret": "A", "reason": "tampered"})
    with pytest.raises(VaultError):
        await vault.lend(["A"], STEP)
    assert "'A' does not fit" in (await vault.verify())["A"]
    with pytest.raises(VaultError, match="not A;"):
        await rotate(vault, "new")
    with pytest.raises(VaultError, match="not A;"):
        await rekey(vault)


@pytest.mark.parametrize("bounds", [{}, {"templates": ["t"]}, {"hosts": ["good.example"]}], ids=str)
@pytest.mark.parametrize("blob", ["as it is", "former", "original"])
async def test_a_new_value_does_not_vouch_for_changed_bounds(
    store: MemoryStore, vault: Vault, bounds: dict[str, list[str]], blob: str
) -> None:
    row = await row_of(store)
    forged = {"as it is": row.value, "former": b"OPV1" + row.value[4:], "original": row.value[8:]}[blob]
    await store.put_secret(row._replace(value=forged, templates=(), hosts=()))
    with pytest.raises(
        VaultError, match=r"may be used cannot be told.*; delete it first, or .*--unrestricted"
    ) as caught:
        await vault.set("A", "hunter3", **bounds)  # type: ignore[arg-type]
    assert "set it again" not in caught.value.message, "that is what was just done"
    assert (await row_of(store)).value == forged
    await vault.set("A", "hunter3", templates=["t"], hosts=[])
    assert (await vault.get("A"), (await row_of(store)).hosts) == ("hunter3", ())


async def test_the_bounds_that_a_new_value_keeps_are_those_it_is_sealed_with(store: MemoryStore, vault: Vault) -> None:
    await vault.set("A", "two")
    await vault.set("A", "three", hosts=["other.example"])
    row = await row_of(store)
    assert (row.templates, row.hosts, row.version) == (("t",), ("other.example",), 3)
    assert (await vault.lend(["A"], STEP))["A"].value == "three"


async def test_bounds_that_another_process_sets_meanwhile_are_kept(store: MemoryStore, vault: Vault) -> None:
    other = await open_vault(store, "pass")

    class Busy(MemoryStore):
        busy = True

        async def secret(self, name: str) -> SecretRow | None:
            row = await store.secret(name)
            if self.busy:
                self.busy = False
                await other.set("A", "theirs", hosts=["narrow.example"])
            return row

    busy = Busy()
    busy.__dict__.update(store.__dict__)
    vault.store = busy
    await vault.set("A", "ours")
    assert (await row_of(store)).hosts == ("narrow.example",)
    assert await vault.get("A") == "ours"


async def opened_unsealed(store: MemoryStore, passphrase: str = "pass") -> Vault:
    """Open the vault as one that was made before bounds were sealed, which may have rows in a former format."""
    opened = (await open_vault(store, passphrase)).opened
    former = Parameters.of(opened.parameters.current, opened.key, sealed=False)
    await store.set_meta("vault", former.write())
    return await open_vault(store, passphrase)


async def test_former_blobs_open_and_are_sealed_with_their_bounds_at_the_next_write(
    store: MemoryStore, vault: Vault
) -> None:
    for passphrase, renew in (
        ("pass", rekey), ("pass", lambda vault: vault.set("A", "hunter2")), ("pass", lambda vault: rotate(vault, "new"))
    ):  # fmt: skip
        vault = await opened_unsealed(store, passphrase)
        await store.put_secret(sealed_before(vault, await row_of(store), "hunter2"))
        assert (await vault.get("A"), await vault.verify(), await vault.unsealed()) == ("hunter2", {}, ["A"])
        await renew(vault)
        row = await row_of(store)
        assert (row.value[:4], row.templates, row.hosts) == (b"OPV2", ("t",), ("good.example",))
        assert await vault.get("A") == "hunter2"
        assert (await vault.verify(), await vault.unsealed()) == ({}, [])


async def test_a_vault_made_before_opens(store: MemoryStore, vault: Vault) -> None:
    """Its verifier is in the former format too."""
    key, nonce = vault.opened.key, os.urandom(keys.NONCE)
    verifier = b"OPV1" + key.id + nonce + key.cipher.encrypt(nonce, b"opcode vault", b"\0verifier")
    text = Parameters(vault.opened.parameters.current, verifier).write()
    await store.set_meta("vault", text)
    before = await open_vault(store, "pass")
    assert await before.get("A") == "hunter2"
    assert not before.opened.parameters.sealed
    with pytest.raises(VaultError, match="wrong vault passphrase"):
        await open_vault(store, "wrong")
    await store.set_meta("vault", json.dumps(json.loads(text) | {"version": 2}))
    with pytest.raises(VaultError, match="parameters are damaged"):
        await open_vault(store, "pass")


async def original_of(row: SecretRow, passphrase: bytes, value: bytes) -> SecretRow:
    """Return a row as the original kept it."""
    nonce = os.urandom(keys.NONCE)
    return row._replace(value=nonce + (await keys.Passphrase(passphrase).original()).encrypt(nonce, value, None))


@pytest.mark.parametrize("format", ["OPV1", "original"])
@pytest.mark.parametrize("sealing", ["made new", "rekey twice", "rotate there and back"])
async def test_once_every_secret_is_sealed_a_row_in_a_former_format_is_refused_whatever_its_bounds(
    store: MemoryStore, vault: Vault, format: str, sealing: str
) -> None:
    if sealing != "made new":
        vault = await opened_unsealed(store)
    bounded = await row_of(store)
    former = (
        sealed_before(vault, bounded, "hunter1")
        if format == "OPV1"
        else await original_of(bounded, b"pass", b"hunter1")
    )
    if sealing != "made new":
        await store.put_secret(former)
        for _ in range(2):
            await (
                rekey(vault)
                if sealing == "rekey twice"
                else rotate(vault, "new" if vault.is_current("pass") else "pass")
            )
    sealed = await row_of(store)
    await store.put_secret(former._replace(templates=(), hosts=()))
    for each in (vault, await open_vault(store, "pass")):
        with pytest.raises(
            VaultError, match=r"does not vouch for its bounds.*; set it again, with its bounds"
        ) as caught:
            await each.lend(["A"], STEP)
        assert (caught.value.retryable, caught.value.details) == (False, {"secret": "A", "reason": "unsealed"})
        assert [*await each.verify()] == ["A"]
        with pytest.raises(VaultError, match="may be used cannot be told"):
            await each.set("A", "hunter3")
        for change in (rekey(each), rotate(each, "third")):
            with pytest.raises(VaultError, match="not A;"):
                await change
    await store.put_secret(sealed)
    assert (await vault.lend(["A"], STEP))["A"].hosts == ("good.example",)


async def test_who_had_the_vault_open_before_it_was_sealed_refuses_former_formats_too(
    store: MemoryStore, vault: Vault
) -> None:
    running = await opened_unsealed(store)
    former = sealed_before(running, await row_of(store), "hunter2")
    await rekey(await open_vault(store, "pass"))
    await store.put_secret(former._replace(templates=(), hosts=()))
    with pytest.raises(VaultError, match="does not vouch for its bounds"):
        await running.lend(["A"], STEP)


async def test_who_saw_the_vault_sealed_does_not_take_back_the_parameters_from_before(
    store: MemoryStore, vault: Vault
) -> None:
    running = await opened_unsealed(store)
    parameters, former = await store.get_meta("vault"), sealed_before(running, await row_of(store), "hunter2")
    await rekey(running)
    assert parameters is not None
    await store.set_meta("vault", parameters)
    await store.put_secret(former._replace(templates=(), hosts=()))
    with pytest.raises(VaultError, match="does not vouch for"):
        await running.lend(["A"], STEP)
    with pytest.raises(VaultError, match="put back, while this process ran"):
        await running.set("A", "hunter3", templates=[], hosts=[])


async def test_that_every_secret_is_sealed_cannot_be_struck_out_of_the_parameters(
    store: MemoryStore, vault: Vault
) -> None:
    text = await store.get_meta("vault")
    assert text is not None
    await store.set_meta("vault", json.dumps(json.loads(text) | {"version": 1}))
    with pytest.raises(VaultError, match="parameters were changed by something other than opcode"):
        await open_vault(store, "pass")
    with pytest.raises(VaultError, match="wrong vault passphrase"):
        await open_vault(store, "wrong")


async def test_a_sealed_vault_still_takes_over_a_database_of_the_original(store: MemoryStore, tmp_path: Path) -> None:
    vault = await open_vault(store, "pass")
    row = await original_of(SecretRow("OLD", b"", 1, 1), b"pass", b"hunter2")
    with closing(sqlite3.connect(tmp_path / "original.db")) as database:
        database.execute("CREATE TABLE secrets (key TEXT PRIMARY KEY, value BLOB, created_at DATETIME)")
        database.execute("INSERT INTO secrets VALUES ('OLD', ?, 'now')", (row.value,))
        database.commit()
    assert (await take_over(vault, tmp_path / "original.db"))["imported"] == ["OLD"]
    assert (await vault.get("OLD"), await vault.unsealed()) == ("hunter2", [])


@pytest.mark.parametrize("text", ["", "{", "5", "null", '"evil.example"', "[5]", " [[", "[]", None, '["evil.example"]'])
async def test_whatever_stands_in_the_table_is_told_as_tampered(tmp_path: Path, text: str | None) -> None:
    async with SqlStore(tmp_path / "a.db") as store:
        vault = await open_vault(store, "pass")
        await vault.set("A", "hunter2", hosts=["good.example"])
        await vault.set("B", "fine")
        with closing(sqlite3.connect(tmp_path / "a.db")) as database:
            database.execute("UPDATE secrets SET hosts = ? WHERE name = 'A'", (text,))
            database.commit()
        assert [*await vault.verify()] == ["A"]
        assert await vault.get("B") == "fine"
        await vault.set("A", "again", templates=[], hosts=["good.example"])
        assert (await vault.verify(), await vault.get("A")) == ({}, "again")


async def test_a_change_is_written_down_in_its_transaction_or_does_not_happen(tmp_path: Path) -> None:
    async with SqlStore(tmp_path / "a.db") as store:
        vault = await open_vault(store, "pass")
        await vault.set("A", "hunter2")
        before = (await store.secrets(), await store.get_meta("vault"))
        with closing(sqlite3.connect(tmp_path / "a.db")) as database:
            database.execute(
                "CREATE TRIGGER full BEFORE INSERT ON secret_uses BEGIN SELECT raise(ABORT, 'no room'); END"
            )
            database.commit()
        for change in (vault.set("A", "x"), vault.delete("A"), rotate(vault, "new"), rekey(vault)):
            with pytest.raises(Exception, match="no room"):
                await change
        assert (await store.secrets(), await store.get_meta("vault")) == before
        assert await vault.peek("A") == "hunter2"
