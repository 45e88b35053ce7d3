"""What is done with the modes of TD-DMD: reconstruction, backcast and selection, against known tones."""

import numpy as np
import pytest

from tokendyn.errors import BadInputError
from tokendyn.forecast import TDDMD, Forecaster

TIME = np.arange(200.0)
SLOW = 3.0 + 2.0 * np.cos(0.11 * TIME + 0.4)
FAST = 0.99**TIME * np.sin(0.73 * TIME)
SERIES = np.column_stack([SLOW + FAST, SLOW - 2 * FAST])


@pytest.fixture(scope="module")
def model():
    return TDDMD(delays=6).fit(SERIES[50:150])


def test_the_training_series_is_rebuilt_from_its_first_window(model):
    np.testing.assert_allclose(model.reconstruct(), SERIES[50:150], atol=1e-7)
    np.testing.assert_allclose(model.reconstruct(150), SERIES[50:200], atol=1e-6)
    np.testing.assert_array_equal(model.reconstruct(3), SERIES[50:53])


def test_what_came_before_is_found_by_the_modes_that_last(model):
    np.testing.assert_allclose(model.backcast(50), SERIES[:50], atol=1e-5)
    np.testing.assert_allclose(model.backcast(20, SERIES[60:90])[:, 0], SERIES[64:84, 0], atol=1e-5)


def slow_modes(model):
    spectrum = model.spectrum()
    return np.abs(np.abs(spectrum.frequencies) - 0.11 / (2 * np.pi)) < 1e-3


def test_a_model_of_some_modes_moves_by_these_alone(model, tmp_path):
    selected = model.select(slow_modes(model))
    ahead = selected.forecast(SERIES[50:150], 40).values
    np.testing.assert_allclose(ahead, np.column_stack([SLOW, SLOW])[150:190], atol=1e-6)
    assert len(selected.spectrum().eigenvalues) == 2
    place = int(np.flatnonzero(slow_modes(model))[0])
    np.testing.assert_allclose(model.select([place]).forecast(SERIES[50:150], 40).values, ahead, atol=1e-8)
    np.testing.assert_allclose(model.reconstruct(modes=[place])[:, 0], SLOW[50:150], atol=1e-6)
    selected.save(tmp_path / "m")
    again = Forecaster.load(tmp_path / "m")
    np.testing.assert_array_equal(again.forecast(SERIES[50:150], 40).values, ahead)
    assert model.forecast(SERIES[50:150], 5).values[0, 0] == pytest.approx(SERIES[150, 0], abs=1e-7)


def test_modes_that_do_not_exist_and_models_with_inputs_are_refused(model):
    for wrong in ([99], [-1], [], [0.5], [True]):
        with pytest.raises(BadInputError, match="expected places below"):
            model.select(wrong)
    with pytest.raises(BadInputError, match="reduced=False"):
        TDDMD(delays=6, reduced=True, rank=5).fit(SERIES).select([0])
    driven = TDDMD(delays=2).fit(SERIES, inputs=np.cos(TIME))
    for ask in (driven.reconstruct, lambda: driven.backcast(3)):
        with pytest.raises(BadInputError, match="without inputs"):
            ask()
    with pytest.raises(BadInputError, match="steps is 0"):
        model.backcast(0)
    fading = TDDMD(delays=3, intercept=False).fit((0.2 ** np.arange(12.0))[:, None])
    with pytest.raises(BadInputError, match="fades within a window"):
        fading.backcast(2)
