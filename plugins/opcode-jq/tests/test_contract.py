import opcode_jq
from opcode_kernel.testing import check_plugin


def test_contract():
    check_plugin(opcode_jq)
