"""What an earlier mask adds to the cells of an image, kept as factors and never written out.

SAM adds to each cell C numbers that two small convolutions and a projection make of the mask. The
projection is of 16 channels, so that what is added is a product of these, with a one for the bias,
and a few rows that no mask changes. That is the form of ``FactoredCells``: the image stays as it
was prepared, without any mask.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class EarlierMask(NamedTuple):
    """Of P prompts: sharesᵀ rows is added to their cells.

    shares: P x E x R x S, of E masks a prompt, none or one; rows: R x C.
    """

    shares: Tensor
    rows: Tensor

    def added(self) -> Tensor:
        """Written out: P x S x C."""
        return self.flat_shares().transpose(1, 2) @ self.flat_rows()

    def flat_shares(self) -> Tensor:
        """The shares as P x E·R x S."""
        prompts, each, count, cells = self.shares.shape
        return self.shares.reshape(prompts, each * count, cells)

    def flat_rows(self) -> Tensor:
        """The rows that go with these: P x E·R x C."""
        return self.of_each(self.rows[None])

    def of_each(self, rows: Tensor) -> Tensor:
        """The R rows of any kind, (P or 1) x R x N, as P x E·R x N."""
        prompts, each, count, _ = self.shares.shape
        wide = rows[:, None].expand(prompts, each, -1, -1)
        return wide.reshape(prompts, each * count, rows.shape[2])
