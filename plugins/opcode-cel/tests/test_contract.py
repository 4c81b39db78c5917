import opcode_cel
from opcode_kernel.testing import check_evaluator, check_plugin


def test_contract():
    check_plugin(opcode_cel)


def test_both_engines_keep_the_contract(cel):
    check_evaluator(cel)
