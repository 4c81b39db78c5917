import os
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


@pytest.fixture
def permissions(tmp_path_factory):
    """Skip where permission bits mean nothing, as for a root user with all capabilities."""
    probe = tmp_path_factory.mktemp("probe") / "closed"
    probe.touch(mode=0)
    if os.access(probe, os.R_OK):
        pytest.skip("this user may read and write everything")
