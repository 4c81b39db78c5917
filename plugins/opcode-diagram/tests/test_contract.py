import opcode_diagram
from opcode_kernel.testing import check_plugin


def test_contract() -> None:
    check_plugin(opcode_diagram)
