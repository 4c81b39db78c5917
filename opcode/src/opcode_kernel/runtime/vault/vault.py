"""The open vault over a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from opcode_kernel.errors import ConflictError, NotFoundError, VaultError
from opcode_kernel.runtime.ports import Borrower, Loan
from opcode_kernel.runtime.vault import keys, rules
from opcode_kernel.runtime.vault.keyring import Keyring, Sources
from opcode_kernel.runtime.vault.keys import Source, source_of
from opcode_kernel.runtime.vault.opening import Opened, create, unlock
from opcode_kernel.runtime.vault.unreadable import UnreadableError, bounds_unknown
from opcode_kernel.store.base import SecretRow, SecretUse, Store
from opcode_kernel.store.secrets import VAULT

#: How often a change is worked out again because another process changed the vault meanwhile.
_ATTEMPTS = 3


async def open_vault(
    store: Store, passphrase: str | bytes | None = None, *, others: Callable[[], Sequence[str]] = list,
    master_key: bytes | None = None, now: Callable[[], int] | None = None,
) -> Vault:  # fmt: skip
    """Open the vault of a store, or create it when the store has none yet.

    Deriving a key takes some tenths of a second, in a worker thread. `others` returns further passphrases that may fit;
    it is asked again when another process has changed the key. `master_key` is a key of 32 bytes in the place of a
    passphrase. `now` is the clock, in microseconds UTC.

    Raises:
        VaultError: the passphrase is missing or wrong, or the vault's parameters are damaged.
    """
    first = source_of(passphrase, master_key)

    def sources() -> list[Source]:
        return [first, *(source_of(other) for other in others() if other)]

    text = await store.get_meta(VAULT)
    opened = await create(store, sources()) if text is None else await unlock(text, sources())
    return Vault(store, opened, sources, now or _clock)


async def delete(store: Store, name: str, *, agent_id: str = "", now: Callable[[], int] | None = None) -> None:
    """Delete a secret, which takes no key.

    Raises:
        NotFoundError: there is no such secret.
    """
    if not await store.delete_secret(name, SecretUse((now or _clock)(), name, "delete", agent_id)):
        raise NotFoundError(f"secret {name!r:.140} not found")


class Vault:
    """The open vault. Values are decrypted at each use and not kept; no repr ever shows one.

    Another process may change secrets, and even the key, at any time: every use looks at what is stored then.
    """

    def __init__(self, store: Store, opened: Opened, sources: Sources, now: Callable[[], int]) -> None:
        self.store = store
        self.keyring = Keyring(store, opened, sources)
        self.now = now

    @property
    def opened(self) -> Opened:
        """The key in use, as it was seen last."""
        return self.keyring.opened

    def __repr__(self) -> str:
        return f"<Vault key {self.opened.key.id.hex()}>"

    def is_current(self, passphrase: str | bytes) -> bool:
        """Tell whether this passphrase is the one in use."""
        return self.opened.source == source_of(passphrase)

    async def set(
        self, name: str, value: str, *, templates: Sequence[str] | None = None, hosts: Sequence[str] | None = None,
        agent_id: str = "",
    ) -> None:  # fmt: skip
        """Store a secret, replacing the value of an existing one.

        `templates` and `hosts` bound where it may be used; None leaves them as they are, empty ones lift them.

        Raises:
            DefinitionError: the name, the value or a bound is not acceptable; the message never quotes the value.
            UnreadableError: bounds are to stay as they are, and cannot be told, because what is stored does not open.
            VaultError: the vault is under another passphrase by now.
        """
        rules.check_name(name)
        plain = rules.check_value(name, value)
        rules.check_bounds(templates or (), hosts or ())
        now = self.now()
        for attempt in range(_ATTEMPTS):
            before = await self.store.secret(name)
            if before is not None and (templates is None or hosts is None):
                await self._check_bounds(before)
            bounds = rules.bounds(before, templates, hosts)
            opened = self.opened
            row = SecretRow(name, opened.key.seal(name, plain, *bounds), now, now, opened.key.id.hex(), 1, *bounds)
            try:
                await self.store.put_secret(
                    row, under=opened.text, before=before, use=SecretUse(now, name, "set", agent_id)
                )
                return
            except ConflictError:
                if attempt == _ATTEMPTS - 1:
                    raise
                await self.keyring.refresh()

    async def _check_bounds(self, row: SecretRow) -> None:
        """Refuse to vouch for bounds that came from somebody else (raises `UnreadableError`)."""
        try:
            await self.keyring.decrypt(row)
        except UnreadableError as error:
            raise bounds_unknown(row.name, error) from None

    async def get(self, name: str, *, agent_id: str = "") -> str:
        """Return the value of a secret, for a use that is no step of a run.

        Raises:
            NotFoundError: there is no such secret.
            VaultError: the stored value is damaged, or was encrypted with another key.
        """
        row = await self._row(name)
        await self.store.add_secret_uses([SecretUse(self.now(), name, "read", agent_id)])
        return await self.keyring.decrypt(row)

    async def peek(self, name: str) -> str:
        """Return the value of a secret in order to hide it: this is no use of it.

        Raises:
            NotFoundError, VaultError: see `get`.
        """
        return await self.keyring.decrypt(await self._row(name))

    async def lend(self, names: Collection[str], borrower: Borrower, optional: Collection[str] = ()) -> dict[str, Loan]:
        """Return secrets for a step of a run; each is written down before it is handed out.

        Those in `optional` are left out where they do not exist.

        Raises:
            NotFoundError, VaultError: see `get`; `VaultError` with the code `PERMISSION_DENIED` for a secret that may not
                be used there.
        """
        rows = []
        for name in names:
            try:
                rows.append(await self._row(name))
            except NotFoundError:
                if name not in optional:
                    raise
        now = self.now()
        refusals = {row.name: reason for row in rows if (reason := rules.refusal(row, borrower)) is not None}
        action = "refuse" if refusals else "resolve"
        await self.store.add_secret_uses(
            [_use(now, row.name, action, borrower) for row in rows if not refusals or row.name in refusals]
        )
        for name, reason in refusals.items():
            raise VaultError(reason, code="PERMISSION_DENIED", retryable=False, details={"secret": name})
        return {row.name: Loan(await self.keyring.decrypt(row), row.hosts) for row in rows}

    async def refuse(self, name: str, borrower: Borrower) -> None:
        """Write down that a step tried to send a secret it was lent to a host the secret is not bound to."""
        await self.store.add_secret_uses([_use(self.now(), name, "refuse", borrower)])

    async def delete(self, name: str, *, agent_id: str = "") -> None:
        """Delete a secret.

        Raises:
            NotFoundError: there is no such secret.
        """
        await delete(self.store, name, agent_id=agent_id, now=self.now)

    async def unsealed(self) -> list[str]:
        """Return the names of the secrets in a former format, which does not vouch for their bounds, sorted."""
        return [row.name for row in await self.store.secrets() if not keys.is_sealed(row.value)]

    async def list(self) -> list[str]:
        """Return the names of all secrets, sorted."""
        return [row.name for row in await self.store.secrets()]

    async def verify(self) -> dict[str, str]:
        """Try to decrypt every secret; returns what is wrong with each that cannot be read, by name."""
        damaged = {}
        for row in await self.store.secrets():
            try:
                await self.keyring.decrypt(row)
            except VaultError as error:
                damaged[row.name] = error.message
        return damaged

    async def _row(self, name: str) -> SecretRow:
        row = await self.store.secret(name) if rules.is_name(name) else None
        if row is None:
            raise NotFoundError(
                f"secret {name!r:.140} not found; store it with `opcode secret set`", details={"secret": name}
            )
        return row


def _use(at: int, name: str, action: str, borrower: Borrower) -> SecretUse:
    return SecretUse(at, name, action, borrower.agent_id, borrower.run_id, borrower.template, borrower.step_id)


def _clock() -> int:
    return time.time_ns() // 1000
