"""What is traced is what torch computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from perception.segmenters.sam import blocks as graph_forms
from perception.segmenters.sam.blocks import LayerNorm2d
from perception.segmenters.sam.cells import centerd


class Form(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.norm = LayerNorm2d(6) if name == "norm_of_centerd" else nn.LayerNorm(6)
        self.name = name

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        if self.name == "norm_of_sum":
            return graph_forms.norm_of_sum(self.norm, a, b)
        if self.name == "norm_of_centerd":
            return graph_forms.norm_of_centerd(self.norm, centerd(a + b))
        return getattr(graph_forms, self.name)(a + b)


FORMS = "gelu", "gelu_of_any", "softmax_over_rows", "norm_of_sum", "norm_of_centerd", "sum_of_rows"
OWN = "erf", "exp", "unsqueeze", "sqrt", "ones"


@pytest.mark.parametrize("name", FORMS)
def test_the_traced_form_gives_the_same(name: str) -> None:
    form = Form(name).eval()
    nn.init.normal_(form.norm.weight)
    a, b = 5 * torch.randn(2, 3, 4, 6)
    traced = torch.export.export(form, (a, b))
    names = {str(node.target) for node in traced.graph.nodes}
    assert any(word in name for name in names for word in OWN)  # not torch's own
    torch.testing.assert_close(traced.module()(a, b), form(a, b), rtol=0, atol=1e-5)


def test_a_softmax_of_huge_scores_is_finite() -> None:
    scores = torch.tensor([[1e4, -1e4], [9e3, -1e4]])[None]
    traced = torch.export.export(Form("softmax_over_rows"), (scores, torch.zeros(1, 2, 2)))
    want = torch.tensor([[[1.0, 0.5], [0.0, 0.5]]])
    torch.testing.assert_close(traced.module()(scores, torch.zeros(1, 2, 2)), want)
