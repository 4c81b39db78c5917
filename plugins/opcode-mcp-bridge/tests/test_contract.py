import opcode_mcp_bridge
from opcode_kernel.testing import check_plugin


def test_contract():
    check_plugin(opcode_mcp_bridge)
