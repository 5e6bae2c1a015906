"""What an export is refused with."""

from __future__ import annotations

import pathlib


class ProofError(RuntimeError):
    """A written export isn't what it should be, so it isn't published.

    Attributes:
        check: Which check refused it: `"loads"`, `"signatures"`, `"operations"`, `"paths"`, `"variables"`, `"size"`,
            `"answers"`, `"metrics"` or `"warm-up"`.
        signature: Of which signature, or `None`.
        place: Where the export waits, if it does.
    """

    def __init__(self, check: str, message: str, *, signature: str | None = None):
        where = f", signature {signature!r}" if signature is not None else ""
        super().__init__(f"{message} Not published (check {check!r}{where}).")
        self.check = check
        self.signature = signature
        self.place: pathlib.Path | None = None

    def __str__(self) -> str:
        waits = f" It waits in {self.place} for another try; delete that directory to go on without it."
        return super().__str__() + (waits if self.place is not None else "")


class ParityError(ProofError):
    """A written export doesn't answer as the live model does."""
