"""Functions in the form that ONNX Runtime runs fastest, when a network is traced into a graph.

Outside of a trace they are torch's own. The numbers are the same; tests compare the two.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.segmenter.layer_norm import LayerNorm2d


def gelu(x: Tensor) -> Tensor:
    """The exact GELU, spelled as the runtime recognises it and runs it in one pass."""
    if not torch.compiler.is_exporting():
        return F.gelu(x)
    return x * (torch.erf(x / math.sqrt(2)) + 1) * 0.5


def gelu_of_any(x: Tensor) -> Tensor:
    """The same, of an array that may be empty: the runtime's own then divides by zero."""
    if not torch.compiler.is_exporting():
        return F.gelu(x)
    half = 0.5 * x
    return half + half * torch.erf(x / math.sqrt(2))


def softmax_over_rows(scores: Tensor) -> Tensor:
    """The softmax of ... x T x S over T.

    The runtime's own turns the array so that T comes last, and then works on rows of seven numbers;
    spelled out it is five passes of long vectors.
    """
    if not torch.compiler.is_exporting():
        return scores.softmax(-2)
    powers = (scores - scores.amax(-2, keepdim=True)).exp()
    return powers / powers.sum(-2, keepdim=True)


def sum_of_rows(x: Tensor) -> Tensor:
    """The sum of P x R x S over R: P x 1 x S.

    The runtime's own takes ten times as long as a product with ones.
    """
    if not torch.compiler.is_exporting():
        return x.sum(1, keepdim=True)
    return x.new_ones(1, 1, x.shape[1]) @ x


def norm_of_sum(norm: nn.LayerNorm, a: Tensor, b: Tensor) -> Tensor:
    """norm(a + b) of B x S x C each. The runtime would fuse the two into one slower operator."""
    if not torch.compiler.is_exporting():
        out: Tensor = norm(a + b)
        return out
    spread: Tensor = norm((a + b).unsqueeze(1))
    return spread.squeeze(1)


def norm_of_centred(norm: LayerNorm2d, x: Tensor) -> Tensor:
    """norm.last(x) of ... x C whose mean over the channels is zero.

    The runtime's norm takes its time over the mean and the spread; spelled out, what is left is an
    operator that takes a quarter of it.
    """
    if not torch.compiler.is_exporting():
        return norm.last(x)
    spread = torch.sqrt(x.pow(2).mean(-1, keepdim=True) + norm.eps)
    return x / spread * norm.weight + norm.bias
