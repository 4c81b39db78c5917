"""Every row of the contract for actions, templates and expressions has a test that names it."""

from __future__ import annotations

from pathlib import Path

from tests.spec_marks import proofs_by_item

#: Test vectors: templates (T), expressions (E), actions (A), a number for each row of the three tables.
VECTORS = {f"17.{table}{row}" for table, rows in (("T", 12), ("E", 13), ("A", 18)) for row in range(1, rows + 1)}
#: What was weak in injection (I) and correctness (K).
WEAKNESSES = {f"15.{table}{row}" for table, rows in (("I", 6), ("K", 17)) for row in range(1, rows + 1)}
#: Deliberate deviations, with what keeps existing templates working.
DEVIATIONS = {f"18.{row}" for row in range(1, 14)}
#: The sections about the framework, the small actions and templates.
SECTIONS = {
    *(f"1.{section}" for section in range(1, 9)), "5", "6", *(f"8.{section}" for section in range(1, 7)),
    *(f"10.{section}" for section in range(1, 8)),
}  # fmt: skip

ITEMS = VECTORS | WEAKNESSES | DEVIATIONS | SECTIONS


def test_each_row_of_the_contract_has_a_test_of_its_own() -> None:
    found = proofs_by_item(Path(__file__).parent)
    assert sorted(ITEMS - set(found)) == []
    assert sorted(set(found) - ITEMS) == []
