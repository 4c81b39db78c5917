"""Another key for the whole vault: all or nothing, in step with whoever else has it open."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from opcode_kernel.errors import ConflictError, NotFoundError, StoreError, VaultError
from opcode_kernel.runtime.vault import MAX_VALUE, Vault, keys, open_vault
from opcode_kernel.runtime.vault.original import take_over
from opcode_kernel.runtime.vault.rotation import rekey, rotate
from opcode_kernel.store.base import SecretRow, SecretUse
from opcode_kernel.store.memory import MemoryStore
from opcode_kernel.store.tortoise import SqlStore

pytestmark = pytest.mark.anyio


@pytest.fixture
async def vault(store: MemoryStore) -> Vault:
    made = await open_vault(store, "old")
    for name in ("A", "B", "C"):
        await made.set(name, f"value of {name}", templates=["t"] if name == "B" else None)
    return made


def original_blob(passphrase: str, value: str) -> bytes:
    key = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), b"opcode-vault-salt", 100_000)
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, value.encode(), None)


async def values(vault: Vault) -> dict[str, str]:
    return {name: await vault.peek(name) for name in await vault.list()}


def content(path: Path) -> bytes:
    return path.read_bytes()


ALL = {name: f"value of {name}" for name in ("A", "B", "C")}


async def test_a_rotation_leaves_nothing_under_the_old_passphrase_and_changes_nothing_else(
    store: MemoryStore, vault: Vault
) -> None:
    before = {row.name: row for row in await store.secrets()}
    assert await rotate(vault, "new", agent_id="me") == 3
    assert await values(vault) == await values(await open_vault(store, "new")) == ALL
    with pytest.raises(VaultError, match="wrong vault passphrase"):
        await open_vault(store, "old")
    for row in await store.secrets():
        old = before[row.name]
        assert row.value != old.value
        assert row.key_id == vault.opened.key.id.hex() != old.key_id
        assert row._replace(value=b"", key_id=None) == old._replace(value=b"", key_id=None)
    assert (await store.secret_uses(limit=1))[0][1:4] == ("*", "rotate", "me")


async def test_a_rekey_changes_key_and_salt_and_keeps_the_passphrase(store: MemoryStore, vault: Vault) -> None:
    before = vault.opened
    assert await rekey(vault) == 3
    assert vault.opened.key.id != before.key.id
    assert vault.opened.parameters.current.salt != before.parameters.current.salt
    assert await values(await open_vault(store, "old")) == ALL


@pytest.mark.parametrize("passphrase", ["old", b"old", "", b""])
async def test_rotating_to_the_same_or_to_no_passphrase_is_refused(
    store: MemoryStore, vault: Vault, passphrase: str | bytes
) -> None:
    with pytest.raises(VaultError, match="expected a"):
        await rotate(vault, passphrase)
    assert await values(vault) == ALL


async def test_with_a_secret_that_cannot_be_read_nothing_is_rotated(store: MemoryStore, vault: Vault) -> None:
    row = await store.secret("B")
    assert row is not None
    await store.put_secret(row._replace(value=row.value[:-1]))
    before = store._meta, await store.secrets()
    with pytest.raises(VaultError, match="not B;") as caught:
        await rotate(vault, "new")
    assert caught.value.details == {"secrets": ["B"]}
    assert (store._meta, await store.secrets()) == before


async def test_secrets_of_the_original_are_under_the_new_key_as_well(store: MemoryStore) -> None:
    await store.put_secret(SecretRow("OLD", original_blob("old", "hunter2"), 1, 1))
    vault = await open_vault(store, "old")
    await rotate(vault, "new")
    row = await store.secret("OLD")
    assert row is not None
    assert row.value.startswith(b"OPV2")
    assert await (await open_vault(store, "new")).get("OLD") == "hunter2"


async def test_a_secret_that_is_stored_meanwhile_is_not_lost(store: MemoryStore, vault: Vault) -> None:
    """It is stored between the reading and the writing of the rotation."""
    other = await open_vault(store, "old")

    class Busy(MemoryStore):
        busy = True

        async def secrets(self) -> list[SecretRow]:
            rows = await store.secrets()
            if self.busy:
                self.busy = False
                await other.set("D", "late")
            return rows

    busy = Busy()
    busy.__dict__.update(store.__dict__)
    vault.store = busy
    assert await rotate(vault, "new") == 4
    assert await values(await open_vault(store, "new")) == {**ALL, "D": "late"}


async def test_where_others_never_stop_changing_secrets_the_rotation_gives_up(store: MemoryStore, vault: Vault) -> None:
    class Restless(MemoryStore):
        async def change_vault(self, *given: object, **more: object) -> None:
            raise ConflictError("changed")

    restless = Restless()
    restless.__dict__.update(store.__dict__)
    vault.store = restless
    with pytest.raises(ConflictError, match="try again"):
        await rotate(vault, "new")
    assert await values(await open_vault(store, "old")) == ALL


@pytest.mark.parametrize("change", ["rekey", "rotate"])
@pytest.mark.parametrize("moment", ["while the new key is derived", "before it is written"])
async def test_a_rotation_that_another_process_makes_meanwhile_is_never_undone(
    store: MemoryStore, change: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await open_vault(store, "old")).set("A", "x")
    ours = await open_vault(store, "old", others=lambda: ["theirs"])
    theirs = await open_vault(store, "old")

    async def meanwhile() -> None:
        if theirs.is_current("old"):
            await rotate(theirs, "theirs")

    class Busy(MemoryStore):
        async def secrets(self) -> list[SecretRow]:
            rows = await store.secrets()
            await meanwhile()
            return rows

    if moment == "before it is written":
        busy = Busy()
        busy.__dict__.update(store.__dict__)
        ours.store = busy
    else:
        derive, once = keys.Passphrase.derive, iter([True])

        async def slow(self: keys.Passphrase, derivation: keys.Derivation) -> keys.Key | None:
            if next(once, False):
                await meanwhile()
                await ours.keyring.refresh()  # as by a use of a secret in this process
            return await derive(self, derivation)

        monkeypatch.setattr(keys.Passphrase, "derive", slow)
    with pytest.raises(ConflictError, match="rotated to another passphrase by another process") as caught:
        await (rekey(ours) if change == "rekey" else rotate(ours, "new"))
    assert caught.value.retryable
    for passphrase in ("old", "new"):
        with pytest.raises(VaultError, match="wrong vault passphrase"):
            await open_vault(store, passphrase)
    assert await (await open_vault(store, "theirs")).get("A") == "x"
    assert [use.action for use in await store.secret_uses()] == ["read", "rotate", "set"]


async def test_who_has_the_vault_open_goes_on_after_a_rekey(store: MemoryStore, vault: Vault) -> None:
    other = await open_vault(store, "old")
    await rekey(other)
    assert await values(vault) == ALL
    await rekey(other)
    await vault.set("D", "new here")
    assert await values(other) == {**ALL, "D": "new here"}


async def test_who_knows_the_new_passphrase_goes_on_after_a_rotation(store: MemoryStore) -> None:
    known: list[str] = []
    daemon = await open_vault(store, "old", others=lambda: known)
    await daemon.set("A", "a")
    await rotate(await open_vault(store, "old"), "new")
    with pytest.raises(VaultError, match="restart it with OPCODE_VAULT_KEY") as caught:
        await daemon.get("A")
    assert not caught.value.retryable
    known.append("new")  # as when the file of the passphrase was exchanged
    assert await daemon.get("A") == "a"
    assert not daemon.is_current("old")


async def test_a_key_that_does_not_fit_is_derived_once_and_not_for_every_use(
    store: MemoryStore, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rotate(await open_vault(store, "old"), "new")
    derived = []
    derive = keys.Passphrase.derive

    async def counted(self: keys.Passphrase, derivation: keys.Derivation) -> keys.Key | None:
        derived.append(self.text)
        return await derive(self, derivation)

    monkeypatch.setattr(keys.Passphrase, "derive", counted)
    for _ in range(5):
        with pytest.raises(VaultError):
            await vault.get("A")
    assert derived == [b"old"]
    assert [*await vault.verify()] == ["A", "B", "C"]


async def test_a_row_of_an_earlier_key_is_read_with_the_passphrase_before(store: MemoryStore, vault: Vault) -> None:
    row = await store.secret("A")
    assert row is not None
    await rotate(vault, "new")
    await rekey(vault)
    await store.put_secret(row._replace(name="A"))  # as out of a backup
    alone = await open_vault(store, "new")
    with pytest.raises(VaultError, match="OPCODE_VAULT_KEY_PREVIOUS"):
        await alone.get("A")
    both = await open_vault(store, "new", others=lambda: ["wrong", "old"])
    assert await both.get("A") == "value of A"
    assert await both.verify() == {}
    await rotate(both, "third")
    assert await (await open_vault(store, "third")).get("A") == "value of A"


async def test_only_the_last_keys_are_remembered(store: MemoryStore, vault: Vault) -> None:
    for _ in range(12):
        await rekey(vault)
    assert len(json.loads(await store.get_meta("vault") or "")["former"]) == 8


async def test_two_who_make_a_vault_at_once_share_it(tmp_path: Path) -> None:
    async with SqlStore(tmp_path / "a.db") as one, SqlStore(tmp_path / "a.db", sole=False) as two:
        first, second = await open_vault(one, "pass"), None

        class Late:
            """Sees no vault at first, as if both had looked before either wrote."""

            def __init__(self) -> None:
                self.asked = 0

            def __getattr__(self, name: str) -> object:
                return getattr(two, name)

            async def get_meta(self, key: str) -> str | None:
                self.asked += 1
                return None if self.asked == 1 else await two.get_meta(key)

        second = await open_vault(Late(), "pass")  # type: ignore[arg-type]
        await first.set("A", "x")
        assert await second.get("A") == "x"


async def test_a_rotation_is_seen_by_another_process_over_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with SqlStore(path) as owner:
        daemon = await open_vault(owner, "old", others=lambda: ["new"])
        async with SqlStore(path, sole=False) as guest:
            await (await open_vault(guest, "old")).set("A", "first")
            assert await daemon.get("A") == "first"
            await rotate(await open_vault(guest, "old"), "new")
            assert await daemon.get("A") == "first"
            await (await open_vault(guest, "new")).set("A", "second")
        assert await daemon.get("A") == "second"
        assert await owner.secret_uses(name="A", limit=2) != []


async def test_what_was_encrypted_with_the_old_key_is_gone_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with SqlStore(path) as store:
        vault = await open_vault(store, "old")
        await vault.set("A", "x" * 3_000)
        old = await store.secret("A")
        await rotate(vault, "new")
        await vault.set("B", "y" * 3_000)
        deleted = await store.secret("B")
        await vault.delete("B")
    assert old is not None
    assert deleted is not None
    for row in (old, deleted):
        assert row.value[:40] not in content(path)
        assert row.value[-40:] not in content(path)


async def test_a_master_key_in_the_place_of_a_passphrase(store: MemoryStore) -> None:
    key = os.urandom(32)
    await store.put_secret(
        SecretRow("OLD", (nonce := os.urandom(12)) + AESGCM(key).encrypt(nonce, b"hunter2", None), 1, 1)
    )
    vault = await open_vault(store, master_key=key)
    await vault.set("A", "x")
    again = await open_vault(store, master_key=key)
    assert (await again.get("A"), await again.get("OLD")) == ("x", "hunter2")
    for wrong in ({"master_key": os.urandom(32)}, {"passphrase": "x"}):
        with pytest.raises(VaultError, match="wrong vault passphrase"):
            await open_vault(store, **wrong)  # type: ignore[arg-type]
    await rotate(again, "now a passphrase")
    assert await (await open_vault(store, "now a passphrase")).get("OLD") == "hunter2"


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
async def test_a_master_key_of_another_length_is_refused(store: MemoryStore, length: int) -> None:
    with pytest.raises(VaultError, match="32 bytes"):
        await open_vault(store, master_key=bytes(length))


async def test_neither_a_passphrase_nor_a_master_key_is_refused(store: MemoryStore) -> None:
    with pytest.raises(VaultError, match="empty"):
        await open_vault(store)


# A database of the original ------------------------------------------------------------------------------------------


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A database with secrets as the original keeps them."""
    file = tmp_path / "original.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE secrets (key TEXT PRIMARY KEY, value BLOB, created_at DATETIME)")
        rows = [("A", "theirs"), ("TOKEN", "hunter2"), ("EMPTY", ""), ("no name", "x"), ("LONG", "x" * (MAX_VALUE + 1))]
        database.executemany(
            "INSERT INTO secrets VALUES (?, ?, 'now')", [(n, original_blob("theirs", v)) for n, v in rows]
        )
        database.execute("INSERT INTO secrets VALUES ('BROKEN', ?, 'now')", (b"short",))
        database.commit()
    return file


async def test_the_secrets_of_the_original_are_taken_over_once_and_leave_its_file_alone(
    store: MemoryStore, vault: Vault, original: Path
) -> None:
    before = content(original)
    ours = await open_vault(store, "old", others=lambda: ["theirs"])
    outcome = await take_over(ours, original)
    reasons = outcome.pop("reasons")
    assert outcome == {"imported": ["EMPTY", "TOKEN"], "kept": ["A"], "refused": ["BROKEN", "LONG", "no name"]}
    assert reasons["BROKEN"] == "the stored value of 'BROKEN' is cut short"
    assert f"at most {MAX_VALUE} bytes" in reasons["LONG"]
    assert "expected a secret name" in reasons["no name"]
    assert await values(vault) == {**ALL, "EMPTY": "", "TOKEN": "hunter2"}
    assert (await take_over(ours, original, replace=True))["imported"] == ["A", "EMPTY", "TOKEN"]
    assert await vault.get("A") == "theirs"
    assert content(original) == before


async def test_what_does_not_open_here_is_refused_with_the_reason_and_the_rest_is_taken_over_all_the_same(
    store: MemoryStore, vault: Vault, original: Path
) -> None:
    row = await store.secret("A")
    assert row is not None
    broken = row._replace(value=row.value[:-1])
    await store.put_secret(broken)
    ours = await open_vault(store, "old", others=lambda: ["theirs"])
    outcome = await take_over(ours, original, replace=True)
    assert outcome["imported"] == ["EMPTY", "TOKEN"]
    assert outcome["refused"] == ["A", "BROKEN", "LONG", "no name"]
    reason = outcome["reasons"]["A"]
    assert reason.startswith("where 'A' may be used cannot be told: the stored value of 'A' does not fit")
    assert reason.endswith("; delete it here first, and give it its bounds afterwards")
    assert "--" not in reason, "an import has no flags for bounds"
    await ours.delete("A")
    assert "A" in (await take_over(ours, original))["imported"]


async def test_without_their_passphrase_nothing_of_the_original_is_taken_over(
    store: MemoryStore, vault: Vault, original: Path
) -> None:
    with pytest.raises(VaultError, match="OPCODE_VAULT_KEY_PREVIOUS"):
        await take_over(vault, original)
    assert await values(vault) == ALL


async def test_what_is_no_database_of_the_original_is_refused(vault: Vault, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file"):
        await take_over(vault, tmp_path / "none.db")
    (tmp_path / "text").write_text("no database at all, and long enough to be looked at as one" * 20)
    with pytest.raises(StoreError, match="expected a database of the original"):
        await take_over(vault, tmp_path / "text")
    async with SqlStore(tmp_path / "ours.db") as ours:
        await (await open_vault(ours, "x")).set("A", "x")
    with pytest.raises(StoreError, match="expected"):
        await take_over(vault, tmp_path / "ours.db")


async def test_the_record_says_who_did_what_and_never_a_value(store: MemoryStore) -> None:
    times = iter(range(1, 100))
    vault = await open_vault(store, "old", now=lambda: next(times))
    await vault.set("A", "hunter2", agent_id="cli")
    await vault.get("A", agent_id="cli")
    await vault.peek("A")
    await rotate(vault, "new", agent_id="cli")
    await vault.delete("A", agent_id="cli")
    assert (await store.secret_uses())[::-1] == [
        SecretUse(1, "A", "set", "cli"), SecretUse(2, "A", "read", "cli"), SecretUse(3, "*", "rotate", "cli"),
        SecretUse(4, "A", "delete", "cli"),
    ]  # fmt: skip
