"""The tokens of a batch that count in statistics, as masks and positions on any device."""

import torch
from torch import Tensor

from mlprune.errors import ShapeError


class CountedTokens:
    """Mask of the counted tokens of a batch, copied to each device once.

    Args:
        mask: bool [b, s], on the CPU, True where the token counts.
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self._ignored: dict[torch.device, Tensor] = {}
        self._positions: dict[torch.device, Tensor] = {}

    def ignored_on(self, device: torch.device) -> Tensor:
        """Return bool [b, s, 1], on a device, True where the token does not count."""
        if device not in self._ignored:
            self._ignored[device] = (~self.mask).unsqueeze(2).to(device, non_blocking=True)
        return self._ignored[device]

    def rows_of(self, values: Tensor) -> list[Tensor]:
        """Return the counted tokens [t, in] of each row of [b, s, in], in their order; the device is not waited for."""
        device = values.device
        if device.type == "cpu":
            return [row[counted] for row, counted in zip(values, self.mask, strict=True)]
        if device not in self._positions:
            self._positions[device] = self.mask.flatten().nonzero().flatten().to(device, non_blocking=True)
        tokens = values.flatten(end_dim=1).index_select(0, self._positions[device])
        return list(torch.split(tokens, self.mask.sum(dim=1).tolist()))

    def free_devices(self) -> None:
        """Drop the copies on devices, so that this can be pickled; they are made again when they are needed."""
        self._ignored.clear()
        self._positions.clear()


def check_mask(values: Tensor, token_mask: Tensor) -> None:
    """Check that a mask fits activations [batch, seq, features].

    Raises:
        ShapeError: the shapes do not match, or the mask is not boolean.
    """
    if values.ndim != 3 or values.shape[:2] != token_mask.shape or token_mask.dtype != torch.bool:
        expected = f"bool {tuple(values.shape[:2])}"
        got = f"{token_mask.dtype} {tuple(token_mask.shape)}"
        raise ShapeError("token mask does not fit the activations", expected=expected, got=got)
