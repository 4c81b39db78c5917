import ctypes
import os
import shutil
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

import opcode_fs
from opcode_kernel import OpcodeError, PathRules, Policy
from opcode_kernel.testing import FakeContext

ACTIONS = {action.name: action for action in opcode_fs.opcode_actions()}


class Files:
    """Calls the actions the way the engine does, under changeable rules."""

    def __init__(self):
        self.rules = PathRules()

    def __call__(self, name, **params):
        action = ACTIONS[f"fs.{name}"]
        context = FakeContext(policy=Policy(paths=self.rules))
        decoded = action.decoder.decode({key: _plain(value) for key, value in params.items()})
        return action.run(context, decoded)

    def fails(self, name, **params):
        """Call an action that must fail, and return its error."""
        with pytest.raises(OpcodeError) as caught:
            self(name, **params)
        return caught.value


def _plain(value):
    return str(value) if isinstance(value, Path) else value


@pytest.fixture
def fs():
    return Files()


@pytest.fixture
def area(tmp_path):
    """The real path of a fresh directory, so that answers can be compared with it."""
    return Path(os.path.realpath(tmp_path))


@pytest.fixture
def tree(area):
    """A small tree with two files, a nested directory and a link: 7 bytes in all."""
    root = area / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("abc")
    (root / "sub" / "b.txt").write_text("defg")
    (root / "sub" / "link").symlink_to("b.txt")
    return root


#: Capabilities of Linux that make permission bits mean nothing: to override them, to read past them, to own everything.
OVERRIDES = 1 << 1 | 1 << 2 | 1 << 3


@contextmanager
def ordinary_user():
    """Give up what makes a root user special, where the system knows how, for this thread and a while."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice
    try:
        libc = ctypes.CDLL(None)
        libc.capget(header, sets)
        before = sets[0]
        sets[0] &= ~OVERRIDES & 0xFFFFFFFF
        libc.capset(header, sets)
    except AttributeError:
        yield
        return
    try:
        yield
    finally:
        sets[0] = before
        libc.capset(header, sets)


@pytest.fixture
def permissions(tmp_path_factory):
    """Skip where permission bits mean nothing all the same."""
    probe = tmp_path_factory.mktemp("probe") / "closed"
    probe.touch(mode=0)
    with ordinary_user():
        try:
            probe.read_bytes()
        except PermissionError:
            yield
            return
    pytest.skip("this user may read and write everything")


CANARY = "canary-7f3a91"


class World:
    """A directory where actions may work, `inside`, beside and above places that are protected.

    Protected files hold a canary. `snapshot` says how the protected places are, down to inodes and times; `leaks` names
    the files inside that hold the canary and did not before.
    """

    DIRECTORIES = ("", "in", "in/sub", "in/sub/deep", "in/private", "in/home", "in2", "ro", "out", "out/dir", "out/empty", "out/sub",
                   "out/sub/deep")  # fmt: skip
    CANARIES = ("out/canary.txt", "out/dir/deep.txt", "out/sub/b.txt", "out/sub/deep/f", "in2/canary.txt", "in/private/key.txt",
                "in/denied.txt", "in/home/opcode.db")  # fmt: skip
    OWN = ("in/a.txt", "in/sub/b.txt", "in/sub/deep/f", "ro/r.txt")
    PROTECTED = ("out", "in2", "in/private", "in/denied.txt", "in/home", "ro")

    def __init__(self, root):
        self.root = root
        self.inside, self.out = root / "in", root / "out"

    def make(self):
        """Make everything anew."""
        shutil.rmtree(self.root, ignore_errors=True)
        for name in self.DIRECTORIES:
            os.mkdir(f"{self.root}/{name}")  # noqa: PTH102  (made anew a thousand times)
        for content, names in ((CANARY, self.CANARIES), ("inside", self.OWN)):
            for name in names:
                with open(f"{self.root}/{name}", "w") as file:  # noqa: PTH123
                    file.write(content)

    def rules(self, kind):
        """Return rules that allow the inside, or that deny what is protected and allow everything else."""
        denied = (
            ["in/private", "in/denied.txt"] if kind == "allow" else ["in/private", "in/denied.txt", "out", "in2", "ro"]
        )
        deny = tuple(str(self.root / name) for name in denied)
        if kind == "deny":
            return PathRules(deny=deny, data_dir=str(self.inside / "home"))
        allowed = {"writable": (str(self.inside),), "read_only": (str(self.root / "ro"),)}
        return PathRules(**allowed, deny=deny, data_dir=str(self.inside / "home"))

    def snapshot(self):
        """Return everything about the protected places."""
        found = {"": sorted(entry.name for entry in os.scandir(self.root))}
        for name in self.PROTECTED:
            _look(f"{self.root}/{name}", found)
        return found

    def leaks(self):
        """Return the files inside that hold the canary and are none of the protected ones."""
        kept = {f"{self.root}/{name}" for name in self.PROTECTED}
        denied = os.lstat(self.inside / "denied.txt").st_ino
        found, pending = [], [str(self.inside)]
        while pending:
            for entry in os.scandir(pending.pop()):
                if entry.path in kept or entry.is_symlink() or entry.inode() == denied:
                    continue
                if entry.is_dir():
                    pending.append(entry.path)
                elif CANARY.encode() in _content(entry.path):
                    found.append(entry.path)
        return found


def _look(path, found):
    info = os.lstat(path)
    if stat.S_ISDIR(info.st_mode):
        content = sorted(entry.path for entry in os.scandir(path))
        for each in content:
            _look(each, found)
    else:
        content = _content(path)
    found[path] = (info.st_mode, info.st_ino, info.st_size, info.st_mtime_ns, info.st_nlink, content)


def _content(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 100_000)
    finally:
        os.close(descriptor)


@pytest.fixture
def world(tmp_path):
    """A world in memory where there is such a place: thousands of attempts need no disk."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path)).resolve()
    made = World(root / "w")
    made.make()
    before = Path.cwd()
    yield made
    os.chdir(before)
    shutil.rmtree(root, ignore_errors=True)
