"""POD against NumPy's SVD, in memory and in pieces; files of every kind; bounded memory."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from tokendyn.errors import BadInputError, OutputError
from tokendyn.forecast.pod import POD


@pytest.fixture
def field(rng):
    """Six decaying patterns over 40 snapshots of 2 x 9 x 7 points."""
    patterns = np.linalg.qr(rng.normal(size=(126, 6)))[0].T
    return (rng.normal(size=(40, 6)) * 2.0 ** -np.arange(6) @ patterns + rng.normal(size=126)).reshape(40, 2, 9, 7)


def svd(field, weights=1.0):
    flat = ((field - field.mean(axis=0)) * np.sqrt(weights)).reshape(len(field), -1)
    return np.linalg.svd(flat, full_matrices=False)


@pytest.mark.parametrize("chunk_bytes", [2**28, 2**14])
@pytest.mark.parametrize("weighted", [False, True])
def test_modes_and_energies_are_those_of_the_svd(field, rng, chunk_bytes, weighted):
    weights = rng.uniform(0.5, 2, size=(9, 7)) if weighted else None
    pod = POD(modes=5, chunk_bytes=chunk_bytes).fit(field, weights=weights)
    w = np.broadcast_to(1.0 if weights is None else weights, (2, 9, 7))
    _, s, phi = svd(field, w)
    np.testing.assert_allclose(pod.singular_values_, s[:5], rtol=1e-10)
    np.testing.assert_allclose(pod.energies_, s[:5] ** 2 / (s**2).sum(), rtol=1e-10)
    np.testing.assert_allclose(np.abs((pod.modes_ * np.sqrt(w)).reshape(5, -1) @ phi[:5].T), np.eye(5), atol=1e-7)
    products = np.einsum("aijk,bijk,ijk->ab", pod.modes_, pod.modes_, w)
    np.testing.assert_allclose(products, np.eye(5), atol=1e-9)


def test_many_snapshots_of_few_points_are_read_over_time(rng):
    tall = rng.normal(size=(900, 3, 4)) * rng.uniform(0.5, 2, size=(3, 4))
    whole, pieces = POD(modes=4).fit(tall), POD(modes=4, chunk_bytes=4096).fit(tall)
    np.testing.assert_allclose(pieces.modes_, whole.modes_, atol=1e-8)
    np.testing.assert_allclose(pieces.energies_, whole.energies_, rtol=1e-10)
    np.testing.assert_allclose(pieces.transform(tall), whole.transform(tall), atol=1e-7)


def test_all_modes_give_the_field_back(field):
    pod = POD(modes=6).fit(field)
    np.testing.assert_allclose(pod.inverse_transform(pod.transform(field)), field, atol=1e-12)
    assert pod.energies_.sum() == pytest.approx(1)


def test_a_share_of_the_variance_chooses_the_modes(field):
    pod = POD(modes=0.99).fit(field)
    assert pod.energies_.sum() >= 0.99 > pod.energies_[:-1].sum()


def test_modes_that_rounding_made_are_not_kept(field):
    assert len(POD(modes=30).fit(field).modes_) == 6


def written(tmp_path, field):
    import h5py

    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["group/velocity"] = field
        file["time"] = np.arange(len(field))
    dataset = xr.Dataset({"velocity": (("time", "c", "y", "x"), field)})
    dataset.to_netcdf(tmp_path / "f.nc", engine="h5netcdf")
    dataset.to_netcdf(tmp_path / "classic.nc", engine="scipy", unlimited_dims=["time"])
    np.save(tmp_path / "f.npy", field)
    np.savez_compressed(tmp_path / "f.npz", velocity=field, time=np.arange(len(field)))
    return [tmp_path / name for name in ("f.h5", "f.nc", "classic.nc", "f.npy", "f.npz")]


def test_files_give_what_the_array_gives(tmp_path, field):
    wanted = POD(modes=4).fit(field)
    for path in written(tmp_path, field):
        found = POD(modes=4, chunk_bytes=2**14).fit(path)
        np.testing.assert_allclose(found.modes_, wanted.modes_, atol=1e-7, err_msg=str(path))
        np.testing.assert_allclose(found.transform(path), wanted.transform(field), atol=1e-7)


def test_memory_stays_bounded_when_the_field_is_larger_than_a_piece(tmp_path, rng):
    """A field of 64 MB is decomposed with pieces of 4 MB in less than a quarter of its size."""
    path = tmp_path / "large.npy"
    large = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(100, 80_000))
    waves = rng.normal(size=(3, 80_000))
    for row in range(100):
        large[row] = np.sin(np.arange(1, 4) * row / 7) @ waves
    large.flush()
    del large
    tracemalloc.start()
    pod = POD(modes=3, chunk_bytes=2**22).fit(path)
    coefficients = pod.transform(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6
    assert pod.energies_.sum() == pytest.approx(1)
    assert coefficients.shape == (100, 3)


def test_a_given_basis_is_used(field):
    fitted = POD(modes=3).fit(field)
    mixed = np.einsum("ab,bijk->aijk", [[1.0, 0, 0], [2, 3, 0], [0, 1, 1]], fitted.modes_)
    given = POD.from_basis(mixed, fitted.mean_)
    np.testing.assert_allclose(given.transform(field), fitted.transform(field), atol=1e-10)
    with pytest.raises(BadInputError, match="depend on each other"):
        POD.from_basis(mixed[[0, 0]])
    with pytest.raises(BadInputError, match="the mean has shape"):
        POD.from_basis(mixed, np.zeros(3))


def test_what_is_saved_is_loaded(tmp_path, field):
    for name, pod in {"fitted": POD(modes=3).fit(field), "given": POD.from_basis(field[:2])}.items():
        pod.save(tmp_path / name)
        again = POD.load(tmp_path / name)
        assert (again.transform(field) == pod.transform(field)).all()
        np.testing.assert_array_equal(again.energies_, pod.energies_)
        with pytest.raises(OutputError, match="exists already"):
            pod.save(tmp_path / name)
        pod.save(tmp_path / name, overwrite=True)
    (tmp_path / "given" / "pod.safetensors").write_bytes(b"short")
    with pytest.raises(BadInputError, match="not a whole safetensors"):
        POD.load(tmp_path / "given")
    with pytest.raises(BadInputError, match="is missing"):
        POD.load(tmp_path)


def test_it_is_cloned_as_estimators_are(field):
    assert clone(POD(modes=3).fit(field)).get_params() == {"modes": 3, "chunk_bytes": 2**28, "scale": True}
    with pytest.raises(NotFittedError):
        POD().transform(field)


def test_what_cannot_be_decomposed_is_refused(tmp_path, field, unchecked):
    broken = field.copy()
    broken[3, 0, 0, 0] = np.nan
    few = "at most 39"
    cases = [
        (POD(40), field, few),
        (POD(-1), field, "expected a whole number"),
        (POD(2.5), field, "expected a whole number"),
        (POD(2, chunk_bytes=1), field, "1024 or more"),
        (POD(2), broken, r"1 value of NaN or infinity \(snapshots 4"),
        (POD(1), np.ones((5, 4)), "constant over time"),
        (POD(1), field * 1j, "complex"),
        (POD(1), np.ones(5), "expected \\(time, \\*space\\)"),
        (POD(1), tmp_path / "none.h5", "does not exist"),
    ]
    for pod, given, message in cases:
        with pytest.raises(BadInputError, match=message):
            pod.fit(given)
    with pytest.raises(BadInputError, match="above 0"):
        POD(2).fit(field, weights=-1.0)
    with pytest.raises(BadInputError, match="fits points"):
        POD(2).fit(field, weights=np.ones(5))
    fitted = POD(2).fit(field)
    with pytest.raises(BadInputError, match="one for each mode"):
        fitted.inverse_transform(np.ones((3, 3)))
    with pytest.raises(BadInputError, match="the basis has"):
        fitted.transform(field[:, :1])
    path = written(tmp_path, field)[0]
    with pytest.raises(BadInputError, match=r"no field 'speed'; found 'group/velocity'"):
        POD(2).fit(path, variable="speed")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BadInputError, match="cannot be read whole"):
        POD(2).fit(path)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz"])
@pytest.mark.parametrize("shape", [(60, 7), (9, 40)])
def test_a_table_is_reduced_in_pieces_as_the_array_is(shape, suffix, rng, tmp_path, monkeypatch):
    monkeypatch.setattr("tokendyn.forecast.field_files._BLOCK", 2048)
    field = rng.normal(size=shape)
    frame = pd.DataFrame(field, columns=[f"p{i}" for i in range(shape[1])])
    frame.insert(1, "time", np.arange(len(field)) * 0.5)
    path = tmp_path / f"field.{suffix}"
    frame.to_csv(path, index=False, sep="\t" if "tsv" in suffix else ",")
    whole, pieces = POD(modes=3).fit(field), POD(modes=3, chunk_bytes=4096).fit(path)
    np.testing.assert_allclose(np.abs(pieces.modes_), np.abs(whole.modes_), atol=1e-9)
    np.testing.assert_allclose(np.abs(pieces.transform(path)), np.abs(whole.transform(field)), atol=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n3,no\n", "line 3 holds .no. in column .y., not a number"),
        ("x,y\n1,2\n3\n", "line 3 has 1 columns, the header has 2"),
        ("1,2\n3,4\n", "no header row"),
        ("t\n1\n2\n", "holds no numbers"),
        ("", "holds no numbers"),
        ("x,y\n1,2\n3,\n", "NaN"),
    ],
)
def test_a_bad_table_of_a_field_is_named(text, message, tmp_path):
    path = tmp_path / "field.csv"
    path.write_text(text)
    with pytest.raises(BadInputError, match=message):
        POD(modes=1).fit(path)
