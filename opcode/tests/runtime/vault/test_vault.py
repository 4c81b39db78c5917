"""The vault: nothing opens it but the passphrase, and nothing shows what is in it."""

from __future__ import annotations

import hashlib
import json
import os
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from opcode_kernel.errors import DefinitionError, NotFoundError, VaultError
from opcode_kernel.runtime.vault import MAX_VALUE, Vault, open_vault
from opcode_kernel.store.base import SecretRow
from opcode_kernel.store.memory import MemoryStore
from opcode_kernel.store.tortoise import SqlStore

pytestmark = pytest.mark.anyio


@pytest.fixture
async def vault(store: MemoryStore) -> Vault:
    return await open_vault(store, "correct horse", now=iter(range(1, 100)).__next__)


def legacy_blob(passphrase: str, value: str) -> bytes:
    key = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), b"opcode-vault-salt", 100_000)
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, value.encode(), None)


@pytest.mark.parametrize("passphrase", ["wrong", b"wrong"])
async def test_a_wrong_passphrase_is_refused_with_the_remedy(store: MemoryStore, passphrase: str | bytes) -> None:
    await open_vault(store, "right")
    with pytest.raises(VaultError, match="the one the vault was created with, or last rotated to") as caught:
        await open_vault(store, passphrase)
    assert not caught.value.retryable


@pytest.mark.parametrize("passphrase", ["", b""])
async def test_an_empty_passphrase_is_refused(store: MemoryStore, passphrase: str | bytes) -> None:
    with pytest.raises(VaultError, match="empty"):
        await open_vault(store, passphrase)
    assert await store.get_meta("vault") is None


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_reopened_vault_reads_what_was_set(store: MemoryStore, vault: Vault) -> None:
    await vault.set("TOKEN", "s3cret ä\0")
    await vault.set("EMPTY", "")
    again = await open_vault(store, b"correct horse")
    assert await again.get("TOKEN") == "s3cret ä\0"
    assert await again.get("EMPTY") == ""
    assert await again.list() == ["EMPTY", "TOKEN"]
    assert await again.verify() == {}


async def test_two_vaults_of_one_passphrase_share_no_key(store: MemoryStore, vault: Vault) -> None:
    await vault.set("A", "x")
    other_store = MemoryStore()
    other = await open_vault(other_store, "correct horse")
    row = await store.secret("A")
    assert row is not None
    await other_store.put_secret(row)
    with pytest.raises(VaultError, match="another key"):
        await other.get("A")


async def test_setting_again_replaces_the_value_and_keeps_the_creation_time(store: MemoryStore, vault: Vault) -> None:
    await vault.set("A", "one")
    first = await store.secret("A")
    await vault.set("A", "two")
    second = await store.secret("A")
    assert first is not None
    assert second is not None
    assert (second.created_at, second.updated_at) == (first.created_at, 2)
    assert await vault.get("A") == "two"


async def test_a_missing_secret_is_not_found(vault: Vault) -> None:
    for name in ("NOPE", "not a name", ""):
        with pytest.raises(NotFoundError):
            await vault.get(name)
    with pytest.raises(NotFoundError):
        await vault.delete("NOPE")


async def test_a_deleted_secret_is_gone_from_memory_too(vault: Vault) -> None:
    await vault.set("A", "x")
    await vault.delete("A")
    with pytest.raises(NotFoundError):
        await vault.get("A")


@pytest.mark.parametrize("name", ["", "1a", "a b", ".a", "-a", "a\n", "ä", "a" * 129, "\0verifier", "a/b", None, 7])
async def test_a_bad_name_is_refused(store: MemoryStore, vault: Vault, name: str) -> None:
    with pytest.raises(DefinitionError):
        await vault.set(name, "x")
    assert await store.secrets() == []


async def test_names_and_values_up_to_the_limits_are_taken(vault: Vault) -> None:
    await vault.set("_" + "a.-9" * 31 + "bcd", "ä" * (MAX_VALUE // 2))
    assert await vault.verify() == {}


@pytest.mark.parametrize("value", ["hunter2" + "x" * MAX_VALUE, "hunter2\ud800", b"hunter2", 7, None])
async def test_a_bad_value_is_refused_and_never_quoted(store: MemoryStore, vault: Vault, value: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        await vault.set("A", value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert await store.secrets() == []


@pytest.mark.parametrize("damage", ["flip", "cut", "cut to the prefix", "nonce"])
async def test_a_damaged_blob_is_refused_and_named(store: MemoryStore, vault: Vault, damage: str) -> None:
    await vault.set("GOOD", "fine")
    await vault.set("BAD", "hunter2")
    row = await store.secret("BAD")
    assert row is not None
    blob = row.value
    broken = {
        "flip": blob[:-1] + bytes([blob[-1] ^ 1]), "cut": blob[:-1], "cut to the prefix": blob[:4],
        "nonce": blob[:8] + bytes(12) + blob[20:],
    }[damage]  # fmt: skip
    await store.put_secret(row._replace(value=broken))
    again = await open_vault(store, "correct horse")
    with pytest.raises(VaultError, match="BAD") as caught:
        await again.get("BAD")
    assert not caught.value.retryable
    assert [*await again.verify()] == ["BAD"]
    assert [*await vault.verify()] == ["BAD"], "verifying looks past the cache"


async def test_swapped_rows_are_noticed(store: MemoryStore, vault: Vault) -> None:
    await vault.set("PUBLIC", "harmless")
    await vault.set("PRIVATE", "hunter2")
    row = await store.secret("PRIVATE")
    assert row is not None
    await store.put_secret(row._replace(name="PUBLIC"))
    again = await open_vault(store, "correct horse")
    with pytest.raises(VaultError):
        await again.get("PUBLIC")


async def test_legacy_blobs_are_read_and_written_anew(store: MemoryStore) -> None:
    await store.put_secret(SecretRow("OLD", legacy_blob("correct horse", "value"), 1, 1))
    with pytest.raises(VaultError, match="wrong vault passphrase"):
        await open_vault(store, "mistyped")
    assert await store.get_meta("vault") is None
    vault = await open_vault(store, "correct horse")
    assert await vault.get("OLD") == "value"
    await vault.set("OLD", "value")
    row = await store.secret("OLD")
    assert row is not None
    assert row.value.startswith(b"OPV2")


@pytest.mark.parametrize("blob", [b"", b"short", legacy_blob("another", "x")], ids=["empty", "short", "foreign"])
async def test_a_legacy_blob_that_cannot_be_read_is_refused(store: MemoryStore, vault: Vault, blob: bytes) -> None:
    await store.put_secret(SecretRow("OLD", blob, 1, 1))
    with pytest.raises(VaultError, match="OLD"):
        await vault.get("OLD")


@pytest.mark.parametrize(
    "change",
    [
        {"salt": "!"}, {"iterations": 1}, {"iterations": 10**9}, {"iterations": "600000"}, {"key_id": "zz"},
        {"verifier": ""}, {"kdf": "md5"}, {"version": 3}, {"salt": None},
    ],
    ids=str,
)  # fmt: skip
async def test_damaged_parameters_are_refused(store: MemoryStore, vault: Vault, change: dict[str, object]) -> None:
    parameters = json.loads(await store.get_meta("vault") or "")
    await store.set_meta("vault", json.dumps(parameters | change))
    with pytest.raises(VaultError, match="parameters are damaged"):
        await open_vault(store, "correct horse")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
async def test_parameters_that_are_no_object_are_refused(store: MemoryStore, text: str) -> None:
    await store.set_meta("vault", text)
    with pytest.raises(VaultError, match="parameters are damaged"):
        await open_vault(store, "x")


async def test_lost_parameters_do_not_start_a_second_vault(store: MemoryStore, vault: Vault) -> None:
    await vault.set("A", "x")
    other = MemoryStore()
    for row in await store.secrets():
        await other.put_secret(row)
    with pytest.raises(VaultError, match="parameters are gone"):
        await open_vault(other, "correct horse")


async def test_no_repr_and_no_stored_byte_shows_a_secret(store: MemoryStore, vault: Vault) -> None:
    await vault.set("A", "hunter2")
    row = await store.secret("A")
    shown = f"{vault!r} {vault} {vault.opened!r} {vault.opened.key!r} {row!r} {await store.get_meta('vault')}"
    assert "hunter2" not in shown
    assert "correct horse" not in shown


async def test_the_vault_survives_in_a_file(tmp_path: Path) -> None:
    async with SqlStore(tmp_path / "a.db") as store:
        await (await open_vault(store, "pass")).set("A", "x")
    async with SqlStore(tmp_path / "a.db") as store:
        assert await (await open_vault(store, "pass")).get("A") == "x"


async def test_the_key_is_expensive_to_guess(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    await open_vault(store, "x")
    assert json.loads(await store.get_meta("vault") or "")["iterations"] >= 600_000
