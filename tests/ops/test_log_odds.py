import numpy as np
import pytest

from perception.ops.masks import logit, sigmoid


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_chances_and_logits_are_each_others_inverse(kind):
    logits = np.linspace(-8, 8, 33, dtype=kind)
    chances = sigmoid(logits)
    assert chances.dtype == kind
    np.testing.assert_allclose(chances, 1 / (1 + np.exp(-logits)), rtol=1e-3)
    np.testing.assert_allclose(logit(chances, least=1e-5), logits, rtol=0.002, atol=1e-6)


def test_nothing_is_certain():
    assert np.array_equal(sigmoid(np.float32([-1e9, 0, 1e9])), [0, 0.5, 1])
    with np.errstate(all="raise"):
        ends = logit(np.float32([-0.1, 0, 0.5, 1, 1.1]), least=0.01)
    want = np.log(99)
    np.testing.assert_allclose(ends, [-want, -want, 0, want, want], rtol=1e-5)
