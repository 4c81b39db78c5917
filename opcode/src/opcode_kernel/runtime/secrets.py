"""The secrets of runs: fetched from the vault when an action needs them, and known to whoever has to hide them.

A run gets its redactor before it does anything: it hides every secret that the definition names or a parent passed on, so
what comes back is hidden from the first step on, and also after a restart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import structlog

from opcode_kernel.core.commands import RunAction
from opcode_kernel.core.holes import Hole, Secret, fill_holes, split_holes
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.run import Run
from opcode_kernel.errors import InterpolationError, Json, NotFoundError, OpcodeError, VaultError
from opcode_kernel.plugin.policy import BoundSecret
from opcode_kernel.runtime.ports import ANOTHER_VAULT, Borrower, LendingVault, Loan, RefusalRecord, Vault
from opcode_kernel.runtime.redaction import Redactor, watch
from opcode_kernel.runtime.spellings import SHORTEST

if TYPE_CHECKING:
    from opcode_kernel.runtime.driver import LiveRun


class Inputs(NamedTuple):
    """What a run starts with: its effective inputs, and what hides its secrets."""

    values: dict[str, Any]
    redactor: Redactor


class Secrets:
    """What an engine does with its vault."""

    def __init__(self, vault: Vault | None) -> None:
        self._vault = vault
        self._lender = vault if isinstance(vault, LendingVault) else None
        self._record: RefusalRecord | None = vault if isinstance(vault, RefusalRecord) else None
        #: Whether it was said that the vault is another one by now; it is said again only after it was in order once.
        self._said = False
        #: Hides the secrets that were fetched for no run, such as those of external plugins: from every run.
        self.common = Redactor()
        #: Hides every secret that was ever fetched here: from answers and logs. Those are full of numbers of our own.
        self.known = watch(Redactor(over=self.common, shortest_number=6))

    async def prepare(self, plan: Plan, inputs: dict[str, Any], *, passed_on: bool = False) -> Inputs:
        """Return the inputs of a run with references where the values of its secrets are, and what hides those.

        `passed_on` says that a parent gave the inputs, which may then refer to secrets that the definition does not name.
        """
        if not (plan.secrets or plan.inputs.secrets or passed_on or self.common.armed):
            return Inputs(inputs, self.common)
        values = await self._values(plan.secrets | _names(inputs))
        redactor = self._redactor(values.values())
        values = {name: value for name, value in values.items() if len(value) >= SHORTEST}
        return Inputs(referred(inputs, values, redactor) if redactor.armed else inputs, redactor)

    async def redactor_of(self, run: Run) -> Redactor:
        """Return what hides the secrets of a run that was loaded."""
        names = run.plan.secrets | (_names(run.state.inputs) if run.state.has_holes else set())
        return self._redactor((await self._values(names)).values())

    async def revealed(self, live: LiveRun, command: RunAction) -> tuple[Json, tuple[BoundSecret, ...]]:
        """Return the params of a call with its secrets filled in, and those that may reach some hosts alone.

        Raises:
            InterpolationError: a secret cannot be had, or not be used here; `details` name it and say why.
        """
        if not command.holes:
            return command.params, ()
        loans = await self._lent(live, command)
        bound = tuple(BoundSecret(name, loan.hosts) for name, loan in loans.items() if loan.hosts)
        return fill_holes(command.params, command.holes, lambda name: loans[name].value), bound

    async def note_refusal(
        self, live: LiveRun, command: RunAction, bound: Iterable[BoundSecret], error: Exception
    ) -> None:
        """Have it written down if a call failed because one of its secrets was kept from a host. Never fails."""
        if self._record is None or not isinstance(error, OpcodeError) or error.code != "PERMISSION_DENIED":
            return
        name = error.details.get("secret")
        if name not in [secret.name for secret in bound]:
            return
        try:
            with anyio.CancelScope(shield=True):  # who tried that does not get away with it by cancelling the run
                await self._record.refuse(name, _borrower(live, command))
        except OpcodeError as failed:
            structlog.get_logger("opcode.vault").warning(
                "that a secret was refused cannot be written down", secret=name, workflow_id=live.run_id,
                step_id=command.step_id, error=failed.message,
            )  # fmt: skip

    async def references(self, live: LiveRun, command: RunAction, value: dict[str, Json]) -> dict[str, Any]:
        """Return a part of the revealed params of a call with references where its secrets are."""
        if not command.holes:
            return value
        loans = await self._lent(live, command)
        found: dict[str, Any] = referred(value, {name: loan.value for name, loan in loans.items()}, live.redactor)
        return found

    async def _lent(self, live: LiveRun, command: RunAction) -> dict[str, Loan]:
        parts = [part for _, parts in command.holes for part in parts if isinstance(part, dict)]
        names = dict.fromkeys(part["secret"] for part in parts)
        optional = {name for name in names if all("default" in part for part in parts if part["secret"] == name)}
        name: str = next(iter(names))
        try:
            if self._lender is not None:
                loans = await self._lender.lend(names, _borrower(live, command), optional)
            else:
                loans = {}
                for name in names:
                    if (value := await self._got(name, name in optional)) is not None:
                        loans[name] = Loan(value)
        except OpcodeError as error:
            self._say(error)
            raise _unusable(error, error.details.get("secret", name)).in_action(command.action) from None
        if loans:
            self._said = False
        for loan in loans.values():
            self._learn(live, loan.value)
        return loans

    def _say(self, error: OpcodeError) -> None:
        """Tell the operator once, when it begins, that every secret fails until something is done about the vault."""
        if error.details.get("reason") == ANOTHER_VAULT and not self._said:
            self._said = True
            structlog.get_logger("opcode.vault").warning("no secret can be used any more", error=error.message)

    async def _got(self, name: str, optional: bool) -> str | None:
        if self._vault is None:
            raise VaultError("no vault is open; start with OPCODE_VAULT_KEY set")
        try:
            return await self._vault.get(name)
        except NotFoundError:
            if optional:
                return None
            raise

    async def _values(self, names: Iterable[str]) -> dict[str, str]:
        """Return the values that can be had; what cannot be read cannot be used either."""
        values: dict[str, str] = {}
        if self._lender is not None:
            for name in sorted(names):
                try:
                    values[name] = await self._lender.peek(name)
                except OpcodeError:
                    continue
        return values

    def _redactor(self, values: Iterable[str]) -> Redactor:
        redactor = self.common
        for value in values:
            redactor = Redactor(over=self.common) if redactor is self.common else redactor
            redactor.add(value)
            self.known.add(value)
        return redactor

    def _learn(self, live: LiveRun, value: str) -> None:
        """Hide a value in a run from now on; it may have been stored, or changed, since the run began."""
        if live.redactor is self.common:
            live.redactor = Redactor(over=self.common)
        live.redactor.add(value)
        self.known.add(value)


def referred(value: Any, values: dict[str, str], redactor: Redactor) -> Any:
    """Return a value with references to secrets where their values stand, and masks where other spellings of them do."""
    names = {text: name for name, text in values.items() if text}
    pattern = re.compile("|".join(re.escape(text) for text in sorted(names, key=len, reverse=True))) if names else None
    return _referred(value, names, pattern, redactor)


def _referred(value: Any, names: dict[str, str], pattern: re.Pattern[str] | None, redactor: Redactor) -> Any:
    if isinstance(value, dict):
        return {redactor.text(key): _referred(item, names, pattern, redactor) for key, item in value.items()}
    if isinstance(value, list):
        return [_referred(item, names, pattern, redactor) for item in value]
    if isinstance(value, Hole):
        return value
    if not isinstance(value, str) or pattern is None or pattern.search(value) is None:
        return redactor.value(value)
    parts: list[str | Secret] = []
    end = 0
    for match in pattern.finditer(value):
        parts += [redactor.text(value[end : match.start()]), Secret(names[match[0]])]
        end = match.end()
    return Hole(tuple(part for part in (*parts, redactor.text(value[end:])) if part != ""))


def _names(inputs: dict[str, Any]) -> set[str]:
    """Return the secrets that inputs refer to."""
    return {part["secret"] for _, parts in split_holes(inputs)[1] for part in parts if isinstance(part, dict)}


def _borrower(live: LiveRun, command: RunAction) -> Borrower:
    state = live.run.state
    return Borrower(state.agent_id, state.run_id, state.plan.template_name, command.step_id, command.action)


def _unusable(error: OpcodeError, name: str) -> InterpolationError:
    return InterpolationError(
        f"the secret {name!r} cannot be used: {error.message}",
        details={"cause": {"code": error.code, "message": error.message}, "secret": name},
    )
