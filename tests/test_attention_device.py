"""Attention on tensors has the bits of attention on arrays, on whatever device there is."""

import numpy as np
import pytest
import torch
from adversarial import FAMILIES, tokens_of

from tokendyn.attention import attend
from tokendyn.attention.device import attend_tensors
from tokendyn.errors import BadInputError

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device that torch can use")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", FAMILIES)
def test_hardmax_on_tensors_has_the_same_bits(family, device, rng):
    tokens = tokens_of(family, 3)
    queries = tokens @ rng.normal(size=(3, 3))
    weights = rng.uniform(1, 2, size=len(tokens))
    for tolerance in (0.0, 1e-10):
        expected = attend(queries, tokens, tokens, weights=weights, tie_tolerance=tolerance, backend="dense")
        parts = [torch.from_numpy(part).to(device) for part in (queries, tokens, tokens)]
        found = attend_tensors(*parts, weights=torch.from_numpy(weights).to(device), tie_tolerance=tolerance)
        for name in ("means", "leaders", "tie_counts", "tie_spreads"):
            field = getattr(found, name)
            assert field.device.type == device
            assert field.cpu().numpy().tobytes() == getattr(expected, name).tobytes(), name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("beta", [0.5, 50.0])
def test_softmax_on_tensors_is_that_of_arrays(beta, device, rng):
    tokens = rng.normal(size=(2300, 3))
    expected = attend(tokens, tokens, tokens, inverse_temperature=beta, rows=np.arange(200))
    whole = torch.from_numpy(tokens).to(device)
    found = attend_tensors(whole[:200], whole, whole, inverse_temperature=beta)
    np.testing.assert_allclose(found.means.cpu().numpy(), expected.means, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.log_masses.cpu().numpy(), expected.log_masses, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("unchecked")
def test_bad_tensors_are_refused_with_all_reasons():
    good = torch.ones(4, 2, dtype=torch.float64)
    with pytest.raises(BadInputError, match="not float64"):
        attend_tensors(good.float(), good, good)
    with pytest.raises(BadInputError, match="2 problems"):
        attend_tensors(good * torch.nan, good[:3], good)
    with pytest.raises(BadInputError, match="overflow"):
        attend_tensors(1e200 * good, good, good)
