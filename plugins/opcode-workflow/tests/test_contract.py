import opcode_workflow
from opcode_kernel.testing import check_plugin


def test_contract() -> None:
    check_plugin(opcode_workflow)
