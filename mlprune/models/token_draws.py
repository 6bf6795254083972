"""Draws of the tokens of many texts, keyed by text and position."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlprune.models.messages import TokenDraw
from mlprune.numeric.inference.sampling import uniform_number


@dataclass(frozen=True)
class Sampling:
    """How the tokens of all texts are drawn."""

    seed: int
    temperature: float
    """0: the likeliest token."""
    banned: tuple[int, ...] = ()
    """Tokens that are never drawn."""

    def draw(self, texts: Sequence[int], position: int) -> TokenDraw:
        """Return the draw of the tokens at one position of some texts."""
        uniforms = tuple(uniform_number(self.seed, text, position) for text in texts) if self.temperature else ()
        return TokenDraw(uniforms, self.temperature, self.banned)
