import opcode_assert
from opcode_kernel.testing import check_plugin


def test_contract():
    check_plugin(opcode_assert)
