"""Figures of forecasts show what the numbers say."""

import numpy as np
import pytest

from tokendyn.errors import BadInputError
from tokendyn.forecast import TDDMD, TDTF, local_eigenvalues, read_orbit
from tokendyn.forecast.figures import (
    attention_figure,
    energy_figure,
    forecast_figure,
    local_eigenvalues_figure,
    modes_figure,
    share_figure,
    spectrum_figure,
)
from tokendyn.forecast.store import plain
from tokendyn.studies.forecast.figures import comparison_figure, cost_figure


def wave(points=240):
    turn = 0.2 * np.arange(points)
    return np.stack([np.sin(turn), np.cos(turn) + 0.3 * np.sin(2 * turn)], axis=1)


@pytest.fixture(scope="module")
def reading():
    model = TDTF(delays=3, stride=2, units=3, iterations=2).fit(wave(), dt=0.1)
    return read_orbit(model, wave(40))


def words(figure):
    """Return all titles, labels and annotations of a figure."""
    found = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        found += [axes.get_title(), axes.get_title("left"), axes.get_xlabel(), axes.get_ylabel()]
        found += [text.get_text() for text in axes.texts]
        found += [text.get_text() for text in axes.get_yticklabels()]
    return " | ".join(found)


def test_a_forecast_is_drawn_to_where_it_ends_with_its_error():
    truth = wave(50)
    figure = forecast_figure(truth, {"model": truth[:30] + 0.1}, 0.5, ["p", "q"], np.array([0.1, 0.1]), past=truth[:5])
    *panels, below = figure.axes
    assert [axes.get_ylabel() for axes in panels] == ["p", "q"]
    drawn = next(line for line in panels[0].lines if line.get_label() == "model")
    assert drawn.get_xdata()[[0, -1]].tolist() == [0.5, 15.0]
    np.testing.assert_allclose(below.lines[0].get_ydata(), 1.0)
    assert "truth" in words(figure)


def test_a_forecast_that_runs_away_does_not_hide_the_truth():
    truth = wave(50)
    figure = forecast_figure(truth, {"wild": 1e6 * truth}, 1.0, ["p", "q"], np.ones(2))
    low, high = figure.axes[0].get_ylim()
    assert -3 < low < -1
    assert 1 < high < 3


def test_a_forecast_of_other_features_is_refused(unchecked):
    with pytest.raises(BadInputError, match="the truth"):
        forecast_figure(wave(9), {"model": np.zeros((9, 3))}, 1.0, ["p", "q"], np.ones(2))


def test_the_spectrum_names_the_frequencies_of_the_signal():
    spectrum = TDDMD(delays=2).fit(wave(), dt=0.1).spectrum()
    told = words(spectrum_figure(spectrum))
    for frequency in (2 / (2 * np.pi), 4 / (2 * np.pi)):
        assert f"{frequency:.4g} Hz" in told
        assert f"{frequency:.4g} Hz, growth" in words(modes_figure(spectrum, ["p", "q"]))


def test_attention_is_drawn_with_the_newest_delay_on_top(reading):
    figure = attention_figure(reading, dt=0.1, stride=2)
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), reading.attention.T)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["−0.4", "−0.2", "now"]


def test_local_eigenvalues_stand_beside_those_of_the_linear_model(reading):
    linear = TDDMD(delays=3, stride=2).fit(wave(), dt=0.1).spectrum().eigenvalues
    local = local_eigenvalues(reading, 2)
    figure = local_eigenvalues_figure(local, linear, 0.1)
    sizes = [len(cloud.get_offsets()) for cloud in figure.axes[0].collections]
    assert sizes == [local.size, linear.size]
    largest = next(line for line in figure.axes[1].lines if line.get_label() == "local, largest")
    np.testing.assert_allclose(largest.get_ydata(), np.abs(local).max(axis=1))


def test_the_share_of_the_nonlinear_part_is_drawn(reading):
    figure = share_figure(reading, 0.1)
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), reading.nonlinear_share)


def test_the_energy_that_is_left_out_falls_to_nothing():
    left = energy_figure(np.array([0.7, 0.2, 0.1])).axes[1].lines[0].get_ydata()
    np.testing.assert_allclose(left[:2], [0.3, 0.1])
    assert left[2] < 1e-12


def row(model, nrmse, worst, group="peer"):
    times = {"valid_time": 2.0, "lower": 1.0, "upper": 4.0}
    return {"task": "one", "model": model, "group": group, "nrmse": nrmse, "worst": worst} | times


def test_models_are_compared_and_a_divergence_is_an_arrow():
    figure = comparison_figure([row("TD-TF", 0.1, 0.2, "ours"), row("wild", 0.5, np.inf)], "Lyapunov times")
    errors, valid = figure.axes
    assert [label.get_text() for label in errors.get_yticklabels()] == ["TD-TF", "wild"]
    assert ">" in [line.get_marker() for line in errors.lines]
    assert "Lyapunov times" in valid.get_xlabel()
    with pytest.raises(BadInputError, match="no row"):
        comparison_figure([])


def test_the_cost_of_delays_is_a_line_from_zero():
    axes = cost_figure({"TD-TF": {1: 2.0, 10: 11.0}}).axes[0]
    assert axes.get_ylim()[0] == 0.0
    assert axes.lines[0].get_xydata().tolist() == [[1.0, 2.0], [10.0, 11.0]]


def test_numbers_that_json_cannot_hold_become_null():
    assert plain({"a": (np.float64(np.inf), 1.5, np.int64(2)), 3: float("nan")}) == {"a": [None, 1.5, 2], "3": None}
