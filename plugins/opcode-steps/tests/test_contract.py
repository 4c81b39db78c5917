import opcode_steps
from opcode_kernel.testing import check_plugin


def test_contract():
    check_plugin(opcode_steps)
