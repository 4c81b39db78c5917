"""The module that the entry point names: loaded by the daemon and by nobody else."""

import os

from tests.soak.plugin import open_plugin

opcode_actions = open_plugin(dict(os.environ))
