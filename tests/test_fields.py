"""Fields: masks, several variables, cell areas, coordinates through POD and forecasters, against numpy."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tokendyn as td
from tokendyn.data.snapshots.grids import Grid, flattened, plain_grid
from tokendyn.errors import BadInputError
from tokendyn.forecast import TDDMD, FieldForecaster
from tokendyn.forecast.pod import POD
from tokendyn.forecast.ranks import gavish_donoho

LAT = np.linspace(-75, 60, 10)


@pytest.fixture
def ocean(rng):
    """Two waves on 10 x 8 points in 60 months with noise, an island, and a second field in other units."""
    time = np.arange(60)[:, None, None]
    values = np.cos(0.4 * time + rng.uniform(0, 6, (10, 8))) + rng.normal(size=(60, 10, 8)) / 50
    values[:, 3, 2:5] = np.nan
    coords = {"time": pd.date_range("2000-01-01", periods=60, freq="MS"), "lat": LAT, "lon": np.arange(8) * 45.0}
    sst = xr.DataArray(values, dims=("time", "lat", "lon"), coords=coords, attrs={"units": "K"})
    return xr.Dataset({"sst": sst, "pressure": 1000 + 50 * sst.transpose("time", "lat", "lon") ** 2})


def weighted_modes(values, weights, count):
    """Return modes by the SVD of numpy, on the points that hold numbers."""
    sea = ~np.isnan(values[0])
    centred = (values - values.mean(axis=0))[:, sea] * np.sqrt(weights[sea])
    _, sizes, right = np.linalg.svd(centred, full_matrices=False)
    return sizes[:count], right[:count] / np.sqrt(weights[sea]), sea


def test_modes_count_cell_areas_and_leave_land_out(ocean):
    pod = POD(modes=3).fit(ocean["sst"])
    cosines = np.repeat(np.cos(np.deg2rad(LAT)), 8).reshape(10, 8)
    sizes, modes, sea = weighted_modes(ocean["sst"].values, cosines / cosines.mean(), 3)
    np.testing.assert_allclose(pod.singular_values_, sizes, rtol=1e-10)
    np.testing.assert_allclose(np.abs(pod.modes_[:, sea]), np.abs(modes), atol=1e-10)
    assert (pod.modes_[:, ~sea] == 0).all()
    assert np.isnan(pod.modes_as_given().values[:, ~sea]).all()
    equal = POD(modes=3).fit(ocean["sst"], weights="equal")
    np.testing.assert_allclose(equal.singular_values_, weighted_modes(ocean["sst"].values, np.ones((10, 8)), 3)[0])
    back = equal.inverse_transform(equal.transform(ocean["sst"]), ocean["time"])
    assert back.dims == ("time", "lat", "lon")
    assert back.attrs == {"units": "K"}
    assert (np.isnan(back.values) == np.isnan(ocean["sst"].values)).all()


def test_several_fields_count_alike_whatever_their_units(ocean, tmp_path):
    pod = POD(modes=4).fit(ocean)
    flat = np.concatenate([ocean[name].values.reshape(60, -1) for name in ("sst", "pressure")], axis=1)
    areas = np.tile(np.repeat(np.cos(np.deg2rad(LAT)), 8), 2)
    sea = ~np.isnan(flat[0])
    weights = areas.copy()
    for part in (slice(0, 80), slice(80, 160)):
        variance = np.average(flat.var(axis=0)[part][sea[part]], weights=areas[part][sea[part]])
        weights[part] /= variance
    sizes, _, _ = weighted_modes(flat, weights / areas.mean(), 4)
    np.testing.assert_allclose(pod.singular_values_ / pod.singular_values_[0], sizes / sizes[0], rtol=1e-9)
    ocean.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    pieces = POD(modes=4, chunk_bytes=2**14).fit(tmp_path / "a.nc", variable=["sst", "pressure"])
    np.testing.assert_allclose(pieces.singular_values_, pod.singular_values_, rtol=1e-7)
    pod.save(tmp_path / "pod")
    back = POD.load(tmp_path / "pod").inverse_transform(pod.transform(ocean), ocean["time"])
    assert isinstance(back, xr.Dataset)
    assert list(back) == ["sst", "pressure"]
    assert POD(modes=4, scale=False).fit(ocean).singular_values_[0] > 10 * pod.singular_values_[0]


def test_a_gap_is_no_land(ocean):
    late, early = ocean["sst"].copy(deep=True), ocean["sst"].copy(deep=True)
    late[7, 0, 0], early[0, 0, 0] = np.nan, np.nan
    with pytest.raises(BadInputError, match=r"1 value of NaN or infinity \(snapshots 8"):
        POD(3).fit(late)
    with pytest.raises(BadInputError, match="NaN in snapshot 1 at points that hold numbers later"):
        POD(3).fit(early)
    with pytest.raises(BadInputError, match="gaps"):
        TDDMD(delays=2).fit(late)
    with pytest.raises(BadInputError, match="complex"):
        TDDMD(delays=2).fit(ocean["sst"] * 1j)
    fitted = POD(3).fit(ocean["sst"])
    ocean["sst"][:, 0, 0] = np.nan
    with pytest.raises(BadInputError, match="NaN at 1 point of the basis"):
        fitted.transform(ocean["sst"])


def test_the_threshold_of_gavish_and_donoho_is_2_858_medians_of_a_square():
    values = np.array([10.0, 2.9, 2.8, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5])
    assert gavish_donoho(values, (9, 9)) == 2
    # Table IV of the paper: omega(.5) = 2.1711 (of the fit) to four digits 2.1711.
    assert gavish_donoho(np.array([2.18, 2.16, 1, 1, 1, 1, 1.0]), (14, 7)) == 1


def test_automatic_ranks_find_the_signal_under_noise(rng):
    signal = 20 * rng.normal(size=(300, 2)) @ np.linalg.qr(rng.normal(size=(90, 2)))[0].T
    noisy = signal + rng.normal(size=signal.shape)
    assert len(POD("auto").fit(noisy).modes_) == 2
    tone = np.sin(0.3 * np.arange(400))[:, None] + 0.1 * rng.normal(size=(400, 1))
    for rank in ("auto", 0):
        assert TDDMD(delays=40, rank=rank).fit(tone).rank_ == 2
    with pytest.raises(BadInputError, match="'auto'"):
        POD("all").fit(noisy)


def test_a_field_forecaster_is_its_member_on_the_coefficients(ocean, tmp_path):
    field = ocean["sst"]
    model = FieldForecaster(member=TDDMD(delays=6), modes=2).fit(field)
    member = TDDMD(delays=6).fit(model.coefficients(field))
    kept = ~np.isnan(field.values[0])
    wanted = member.predict(5) @ model.pod_.modes_ + model.pod_.mean_
    np.testing.assert_allclose(model.forecast(5).values, wanted, atol=1e-10)
    np.testing.assert_allclose(model.predict(5).values[:, kept], wanted, atol=1e-10)
    model.save(tmp_path / "m")
    assert td.load(tmp_path / "m").predict(5).identical(model.predict(5))
    spectrum = model.spectrum()
    np.testing.assert_allclose(spectrum.eigenvalues, member.spectrum(member.last_window_).eigenvalues, atol=1e-8)
    assert spectrum.modes.shape[0] == kept.sum()
    assert dict(model.mode_maps().sizes) == {"mode": 2, "lat": 10, "lon": 8}


def test_grids_are_read_back_from_their_record(ocean):
    field = ocean["sst"]
    form = TDDMD(delays=2).fit(field).form_
    again = Grid.read(form.grid.record())
    rows = np.arange(2.0 * again.features).reshape(2, -1)
    assert again.to_xarray(rows, None).identical(form.grid.to_xarray(rows, None))
    np.testing.assert_array_equal(again.areas(), form.grid.areas())
    values, grid = flattened([np.ones((3, 2, 2))], plain_grid({None: (3, 2, 2)}, single=True), "x")
    assert (values.shape, grid.names(), grid.areas()) == ((3, 4), ("x0", "x1", "x2", "x3"), None)
    with pytest.raises(BadInputError, match="no number at any point"):
        flattened([np.full((3, 2, 2), np.nan)], plain_grid({None: (3, 2, 2)}, single=True), "x")
