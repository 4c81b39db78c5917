"""Every numbered check and every listed shortcoming of the contract has a test that names it."""

from __future__ import annotations

from pathlib import Path

from tests.spec_marks import proofs_by_item

CHECKS = {f"11.{number}" for number in range(1, 26)}
SHORTCOMINGS = {f"10.{number}" for number in range(1, 61)}


def test_each_item_of_the_contract_has_a_test_of_its_own() -> None:
    found = proofs_by_item(Path(__file__).parent)
    assert sorted((CHECKS | SHORTCOMINGS) - set(found)) == []
    assert sorted(set(found) - CHECKS - SHORTCOMINGS) == []
