"""Walking through the tokens: what stands here, what must stand here, and how to say that it does not."""

from __future__ import annotations

from opcode_expr.faults import SyntaxFault, shown
from opcode_expr.lexer import Token, tokenize


class Cursor:
    """A position in the tokens of a text; the last token is `end` and is never passed."""

    def __init__(self, text: str) -> None:
        self.tokens: list[Token] = tokenize(text)
        self.position = 0
        self.current = self.tokens[0]

    def at_op(self, text: str) -> bool:
        """Tell whether the current token is this operator or bracket."""
        return self.current.kind == "op" and self.current.text == text

    def advance(self) -> None:
        """Go to the next token."""
        self.position += 1
        self.current = self.tokens[min(self.position, len(self.tokens) - 1)]

    def expect(self, text: str) -> None:
        """Go past an operator that must stand here."""
        if not self.at_op(text):
            raise self.unexpected(shown(text))
        self.advance()

    def ended(self, closing: str) -> bool:
        """Go past the comma after an element, and tell whether it was a trailing one."""
        if not self.at_op(","):
            raise self.unexpected(f'"," or {shown(closing)}')
        self.advance()
        return self.at_op(closing)

    def unexpected(self, wanted: str = "an operator or the end") -> SyntaxFault:
        """Return the error for the current token."""
        found = self.current.text if self.current.kind == "end" else shown(self.current.text)
        return SyntaxFault(f"expected {wanted}, found {found}", self.current.at)
