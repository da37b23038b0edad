"""What becomes of image files that cannot be used: the data are refused, or the files are left out and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...core.errors import UserError, refuse_unknown

ON_BAD_IMAGE = ("refuse", "skip")
_HINT = "--on-bad-image skip leaves such files out."


@dataclass
class BadImages:
    """The bad files of one data set, as sentences that name the file and the reason, in the order in which they were met."""

    on_bad_image: str = "refuse"
    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        refuse_unknown("on_bad_image =", self.on_bad_image, ON_BAD_IMAGE)

    @property
    def skips(self) -> bool:
        """Whether bad files are left out."""
        return self.on_bad_image == "skip"

    def meet(self, problems: Sequence[str]) -> None:
        """Take note of bad files; `UserError` with the first of them and the number of the others if they are not left out."""
        if problems and not self.skips:
            more = f"{len(problems) - 1} more cannot be read. " if len(problems) > 1 else ""
            raise UserError(f"{problems[0]}\n{more}{_HINT}")
        self.found += problems
