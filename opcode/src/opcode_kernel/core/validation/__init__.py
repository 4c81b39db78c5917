"""Validation of workflow definitions: every problem at once, each with its place, its fix and often a patch."""

from opcode_kernel.core.validation.issues import Issue, Patch
from opcode_kernel.core.validation.pipeline import validate
from opcode_kernel.core.validation.report import Report
from opcode_kernel.core.validation.vocabulary import Vocabulary

__all__ = ["Issue", "Patch", "Report", "Vocabulary", "validate"]
