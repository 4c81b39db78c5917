"""The passphrases of the vault: taken out of the environment at the start, each given as it is or as a file.

Three may be given: the one that holds, the one to rotate to, and the one that held before. Taking one out also wipes it from
the memory in which the process was given it, which the system shows to others (`/proc/PID/environ`), and from then on, where
the system allows to ask for that, no program of the same user can look into this process.
"""

from __future__ import annotations

import os
import stat
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path

from opcode_kernel.errors import SettingsError, VaultError
from opcode_kernel.plugin.policy import Policy
from opcode_kernel.runtime.ports import WRONG_PASSPHRASE
from opcode_kernel.server.own_memory import hide_memory

CURRENT, NEW, PREVIOUS = "OPCODE_VAULT_KEY", "OPCODE_VAULT_KEY_NEW", "OPCODE_VAULT_KEY_PREVIOUS"
#: Every variable that may hold a passphrase, or name the file that does.
VARIABLES = tuple(f"{name}{suffix}" for name in (CURRENT, NEW, PREVIOUS) for suffix in ("", "_FILE"))


@dataclass(frozen=True, slots=True, repr=False)
class VaultKeys:
    """The passphrases that were given, and the files they came from."""

    current: str | None = None
    new: str | None = None
    previous: str | None = None
    files: tuple[tuple[str, Path], ...] = ()
    #: Remarks for the log of the start.
    warnings: tuple[str, ...] = ()

    @property
    def is_given(self) -> bool:
        """Whether there is any passphrase."""
        return any((self.current, self.new, self.previous))

    @property
    def to_set(self) -> str:
        """Return what to do to have another passphrase hold, as the beginning of a sentence that names it."""
        file = self._file_of(CURRENT)
        return f"set {CURRENT} to" if file is None else f"let the file {file}, which {CURRENT}_FILE names, hold"

    def is_in_file(self, name: str) -> bool:
        """Tell whether the passphrase of a variable is read from a file."""
        return self._file_of(name) is not None

    def _file_of(self, name: str) -> Path | None:
        return dict(self.files).get(f"{name}_FILE")

    def refusal(self, error: VaultError) -> SettingsError:
        """Return the error for a vault that these do not open, with what to do."""
        wrong = error.details.get("reason") == WRONG_PASSPHRASE
        remedy = f"; {self.to_set} that one" if wrong else ""
        return SettingsError(f"the vault cannot be opened: {error.message}{remedy}", code=error.code)

    def exposed(self) -> tuple[str, ...]:
        """Return a remark for each file of a passphrase that others than its owner and his group can read or change."""
        found = []
        for name, file in self.files:
            try:
                mode = stat.S_IMODE(file.stat().st_mode)
            except OSError:
                continue  # it could be read at the start, and has gone since
            if mode & 0o027:
                found.append(f"{name}: other users can read or change {file} (mode {mode:04o}): chmod 600 {file}")
        return tuple(found)

    def others(self) -> list[str]:
        """Return what the vault may have been rotated to or from, the files read again."""
        found = [self.new, self.previous]
        for name, file in self.files:
            try:
                found.append(_read(name, file))
            except SettingsError:
                continue  # what was read at the start still counts
        return [passphrase for passphrase in dict.fromkeys(found) if passphrase and passphrase != self.current]

    def hidden(self, policy: Policy) -> Policy:
        """Return a policy that keeps actions from the files of the passphrases."""
        deny = tuple(str(file.absolute()) for _, file in self.files)
        return replace(policy, paths=replace(policy.paths, deny=(*policy.paths.deny, *deny))) if deny else policy


def take_vault_keys(environ: MutableMapping[str, str]) -> VaultKeys:
    """Return the passphrases, and remove every trace of them from the environment.

    Raises:
        SettingsError: one is given twice, or its file cannot be read or is empty; the environment is clean all the same.
    """
    warnings: list[str] = []
    if environ is os.environ and (given_here := [name for name in VARIABLES if name in environ]):
        if (trouble := hide_memory()) is not None:
            warnings.append(
                "the memory of this process, which holds the vault key, cannot be kept from other programs of the same user: "
                f"{trouble}"
            )
        for name in given_here:
            _wipe(name)
    taken = {name: environ.pop(name, "") for name in VARIABLES}
    given: dict[str, str | None] = {}
    files: list[tuple[str, Path]] = []
    for name in (CURRENT, NEW, PREVIOUS):
        direct, file = taken[name], taken[f"{name}_FILE"]
        if direct and file:
            raise SettingsError(f"{name} and {name}_FILE are both set; set one of them")
        if file:
            files.append((f"{name}_FILE", Path(file).expanduser()))
            direct = _read(*files[-1])
        given[name] = direct or None
    return VaultKeys(given[CURRENT], given[NEW], given[PREVIOUS], tuple(files), tuple(warnings))


def _read(name: str, file: Path) -> str:
    try:
        key = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{name}: {file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{name}: {file} is no text in UTF-8, at byte {error.start}; expected a passphrase"
        ) from None
    if not key:
        raise SettingsError(f"{name}: {file} is empty; expected a passphrase")
    return key


def _wipe(name: str) -> None:
    """Overwrite the value of a variable where the C library has it, which is where the system shows it to others."""
    import ctypes

    try:
        library = ctypes.CDLL(None)
        library.getenv.restype = ctypes.c_void_p
        address = library.getenv(name.encode())
        if address:
            ctypes.memset(address, 0, len(ctypes.string_at(address)))
    except (OSError, AttributeError):
        return  # no such library: the variable is still taken out of what children inherit
