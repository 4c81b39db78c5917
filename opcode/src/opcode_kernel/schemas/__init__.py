"""JSON Schema and regular expressions for programs of strangers: linear time, a deadline, and nothing is fetched."""

from opcode_kernel.schemas.checking import JsonSchema
from opcode_kernel.schemas.patterns import first_match

__all__ = ["JsonSchema", "first_match"]
