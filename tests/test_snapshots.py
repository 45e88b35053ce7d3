"""Snapshots from files and tables: every format gives the same series, and every fault is named with its rows."""

import gzip
import pickle

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tokendyn.data import snapshots as module
from tokendyn.data.snapshots import read_snapshots, read_trajectories, snapshots
from tokendyn.errors import BadInputError
from tokendyn.forecast.field_files import open_field

TIMES = 0.5 + 0.1 * np.arange(30)
VALUES = np.stack([np.sin(TIMES), np.cos(3 * TIMES)], axis=1)
PUSH = np.sign(np.sin(2 * TIMES))
FRAME = pd.DataFrame({"time": TIMES, "lift": VALUES[:, 0], "drag": VALUES[:, 1], "push": PUSH})


def write_csv(path):
    FRAME.to_csv(path, index=False)


def write_gzipped(path):
    with gzip.open(path, "wt") as stream:
        FRAME.to_csv(stream, index=False, sep="\t")


def write_npz(path):
    np.savez(path, time=TIMES, lift=VALUES[:, 0], drag=VALUES[:, 1], push=PUSH)


def write_hdf5(path):
    import h5py

    with h5py.File(path, "w") as file:
        for name in FRAME.columns:
            file[name] = FRAME[name].to_numpy()


def write_netcdf(path):
    xr.Dataset({n: ("time", FRAME[n]) for n in FRAME.columns[1:]}, {"time": TIMES}).to_netcdf(path, engine="h5netcdf")


def write_classic_netcdf(path):
    xr.Dataset({n: ("time", FRAME[n]) for n in FRAME.columns[1:]}, {"time": TIMES}).to_netcdf(path, engine="scipy")


WRITERS = {
    "a.csv": write_csv,
    "a.tsv.gz": write_gzipped,
    "a.parquet": FRAME.to_parquet,
    "a.npz": write_npz,
    "a.h5": write_hdf5,
    "a.nc": write_netcdf,
    "a.netcdf": write_classic_netcdf,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_series(tmp_path, name):
    WRITERS[name](tmp_path / name)
    found = read_snapshots(tmp_path / name, columns=["lift", "drag"], inputs=["push"])
    np.testing.assert_allclose(found.values, VALUES, rtol=1e-15)
    np.testing.assert_allclose(found.times, TIMES, rtol=1e-12)
    assert (found.inputs[:, 0] == PUSH).all()
    assert (found.names, found.input_names) == (("lift", "drag"), ("push",))
    assert found.dt == pytest.approx(0.1, rel=1e-12)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_says_which_columns_there_are(tmp_path, name):
    WRITERS[name](tmp_path / name)
    with pytest.raises(BadInputError, match=r"no column 'lfit'.*'lift'.*did you mean 'lift'"):
        read_snapshots(tmp_path / name, columns=["lfit"])


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("kept", [0, 0.5])
def test_every_format_refuses_a_truncated_file(tmp_path, name, kept):
    WRITERS[name](tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    text = whole[: int(kept * len(whole))]
    (tmp_path / name).write_bytes(text + b"1,2,3,4,5,6,7" if name == "a.csv" and kept else text)
    with pytest.raises(BadInputError, match="a\\."):
        read_snapshots(tmp_path / name)


@pytest.mark.parametrize(
    "table",
    [
        FRAME,
        FRAME.set_index("time"),
        xr.Dataset({n: ("time", FRAME[n]) for n in FRAME.columns[1:]}, {"time": TIMES}),
        dict(FRAME),
    ],
)
def test_tables_in_memory_are_read_as_files_are(table):
    found = read_snapshots(table, inputs=["push"])
    assert (found.values == VALUES).all()
    np.testing.assert_allclose(found.times, TIMES)


def test_arrays_of_several_dimensions_give_one_feature_for_each_entry(tmp_path):
    field = np.random.default_rng(0).normal(size=(20, 2, 3))
    np.save(tmp_path / "field.npy", field)
    found = read_snapshots(tmp_path / "field.npy", dt=0.5)
    assert (found.values == field.reshape(20, 6)).all()
    assert found.names == tuple(f"x{i}" for i in range(6))
    assert (read_snapshots(xr.DataArray(field, dims=("time", "a", "b"))).values == found.values).all()


def test_dates_become_seconds():
    dates = pd.date_range("2024-02-28 23:00", periods=30, freq="1h").astype(str)
    found = read_snapshots(pd.DataFrame({"time": dates, "a": VALUES[:, 0]}))
    assert found.dt == 3600.0


def test_an_object_array_is_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(tmp_path / "bad.npz", a=np.array([Trap(), 1], dtype=object))
    (tmp_path / "bad.npy").write_bytes(pickle.dumps(Trap()))
    for name in ("bad.npz", "bad.npy"):
        with pytest.raises(BadInputError):
            read_snapshots(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def frame(**changes):
    return FRAME[["time", "lift", "drag"]].assign(**changes)


def changed(column, rows, value):
    new = FRAME[column].to_numpy(copy=True)
    new[rows] = value
    return frame(**{column: new})


FAULTS = {
    "backwards": (changed("time", [4], 0.0), r"times run backwards in row 5"),
    "twice": (changed("time", [4], TIMES[3]), r"times occur twice in row 5"),
    "not uniform": (changed("time", [7], TIMES[7] + 0.02), r"times are not uniform \(step 0.1\): rows 8, 9"),
    "missing": (frame().drop(index=[10, 11, 20]), r"3 times are missing before rows 11, 19; .*fill="),
    "no time": (changed("time", [2], np.nan), r"times are not finite in row 3"),
    "gap": (changed("drag", [5, 6], np.nan), r"'drag' is NaN in rows 6, 7; .*fill="),
    "infinite": (changed("lift", [0], -np.inf), r"'lift' is infinite in row 1"),
    "constant": (frame(drag=3.0, lift=1.0), r"'lift', 'drag' is constant"),
    "empty": (frame(drag=np.nan), r"'drag' holds no number"),
    "text": (frame(drag=["1"] * 29 + ["two"]), r"'drag' is text, 'two', in row 30"),
    "complex": (frame(drag=VALUES[:, 0] + 1j), r"complex"),
    "short": (frame().iloc[:1], r"1 snapshots; expected at least 2"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_named_with_its_rows(fault):
    table, message = FAULTS[fault]
    with pytest.raises(BadInputError, match=message):
        read_snapshots(table)


def test_all_faults_of_a_table_are_told_at_once():
    table = changed("drag", [5], np.nan).assign(lift=np.inf)
    table.loc[3, "time"] += 0.05
    with pytest.raises(BadInputError, match=r"(?s)not uniform.*'lift' is infinite.*'drag' is NaN"):
        read_snapshots(table)


def test_gaps_are_filled_when_asked():
    broken = changed("drag", [5, 6], np.nan).drop(index=[10, 11])
    linear = read_snapshots(broken, fill="linear")
    assert len(linear) == 30
    np.testing.assert_allclose(linear.values[5:7, 1], np.interp(TIMES[5:7], TIMES[[4, 7]], VALUES[[4, 7], 1]))
    np.testing.assert_allclose(linear.values[10:12], np.stack([
        np.interp(TIMES[10:12], TIMES[[9, 12]], VALUES[[9, 12], i]) for i in range(2)], axis=1))  # fmt: skip
    held = read_snapshots(broken, fill="previous")
    assert (held.values[5:7, 1] == VALUES[4, 1]).all()
    assert (held.values[10:12] == VALUES[9]).all()
    with pytest.raises(BadInputError, match="fill is 'cubic'"):
        read_snapshots(broken, fill="cubic")


NAN = np.nan


@pytest.mark.parametrize(
    ("times", "values", "previous"),
    [
        ([0, 1, 2, 3], [10, 20, NAN, 40], [10, 20, 20, 40]),
        ([0, 1, 2, 3, 4], [NAN, NAN, 30, NAN, 50], [30, 30, 30, 30, 50]),
        ([0, 1, 2, 3, 4], [10, 20, NAN, NAN, NAN], [10, 20, 20, 20, 20]),
        ([0, 1, 4, 5], [10, 20, 50, 60], [10, 20, 20, 20, 50, 60]),
        ([0, 1, 3, 4], [10, NAN, NAN, 50], [10, 10, 10, 10, 50]),
        ([0, 1, 2, 5], [10, 20, 30, 60], [10, 20, 30, 30, 30, 60]),
        ([0, 3, 4, 5], [10, 40, 50, 60], [10, 10, 10, 40, 50, 60]),
        ([-0.2, -0.1, 0.1, 0.2], [1, 2, 4, 5], [1, 2, 2, 4, 5]),
        ([0, 1], [3, 7], [3, 7]),
    ],
)
def test_a_gap_takes_the_previous_value_and_every_known_value_stays_in_its_row(times, values, previous):
    held = read_snapshots({"time": np.array(times, dtype=float), "a": np.array(values, dtype=float)}, fill="previous")
    assert held.values[:, 0].tolist() == previous
    np.testing.assert_allclose(held.times, times[0] + held.dt * np.arange(len(previous)), rtol=1e-15)
    assert (held.times[0], held.times[-1]) == (times[0], pytest.approx(times[-1], rel=1e-12))
    linear = read_snapshots({"time": np.array(times, dtype=float), "a": np.array(values, dtype=float)}, fill="linear")
    known = ~np.isnan(values)
    np.testing.assert_allclose(
        linear.values[:, 0], np.interp(linear.times, np.array(times)[known], np.array(values)[known]), rtol=1e-12
    )


def test_inputs_are_filled_as_columns_are():
    table = {"time": np.array([0.0, 1, 3]), "a": np.array([1.0, NAN, 5]), "push": np.array([7.0, 8, NAN])}
    held = read_snapshots(table, inputs=["push"], fill="previous")
    assert held.values[:, 0].tolist() == [1, 1, 1, 5]
    assert held.inputs[:, 0].tolist() == [7, 8, 8, 8]


def test_times_rounded_to_few_digits_are_uniform():
    times = np.round(np.arange(5000) * 0.1 / 3, 6)
    assert snapshots(np.sin(times), times=times).dt == pytest.approx(0.1 / 3, rel=1e-6)


def test_trajectories_are_told_apart_by_a_column():
    table = pd.concat([FRAME.assign(run="b"), FRAME.iloc[:12].assign(run="a", drag=1.0)])
    found = read_trajectories(table, "run", inputs=["push"])
    assert [len(series) for series in found] == [30, 12]
    assert (found[0].values == VALUES).all()
    with pytest.raises(BadInputError, match="'lift', 'drag' is constant"):
        read_trajectories(table.assign(drag=2.0, lift=1.0)[["time", "lift", "drag", "run"]], "run")
    with pytest.raises(BadInputError, match=r"series 'a'.*twice"):
        read_trajectories(table.assign(time=np.r_[TIMES, TIMES[:11], TIMES[10]]), "run")
    with pytest.raises(BadInputError, match="time steps run from"):
        read_trajectories(table.assign(time=np.r_[TIMES, 2 * TIMES[:12]]), "run")


def test_unknown_kinds_folders_and_missing_files_are_refused(tmp_path):
    (tmp_path / "a.xls").write_text("x")
    for path, message in ((tmp_path / "a.xls", "no known kind"), (tmp_path, "is a folder"), ("none.csv", "not exist")):
        with pytest.raises(BadInputError, match=message):
            read_snapshots(path)
    with pytest.raises(BadInputError, match="is no table"):
        read_snapshots(1.0)
    (tmp_path / "latin.csv").write_bytes("größe\n1\n2".encode("latin-1"))
    with pytest.raises(BadInputError, match="UTF-8"):
        read_snapshots(tmp_path / "latin.csv")


def test_fields_that_are_too_large_are_sent_to_pod(monkeypatch):
    monkeypatch.setattr("tokendyn.data.snapshots.columns.MOST_TABLE_BYTES", 1000)
    with pytest.raises(BadInputError, match="reduce it by POD"):
        read_snapshots({"x": np.zeros((100, 5))})
    monkeypatch.undo()
    monkeypatch.setattr(module.readers, "MOST_POINTS", 10)
    with pytest.raises(BadInputError, match="reduce the field by POD"):
        read_snapshots({"x": np.zeros((2, 11))})


def test_columns_of_different_length_and_repeated_columns_are_refused():
    with pytest.raises(BadInputError, match="lengths differ"):
        read_snapshots({"a": np.arange(5.0), "b": np.arange(6.0)})
    with pytest.raises(BadInputError, match="asked for twice"):
        read_snapshots(FRAME, columns=["lift", "lift"])
    with pytest.raises(BadInputError, match="lists of names"):
        read_snapshots(FRAME, columns="lift")


def test_series_are_cut_thinned_split_and_made_noisy():
    series = read_snapshots(FRAME, inputs=["push"])
    thin = series[4::2]
    assert (thin.values == VALUES[4::2]).all()
    assert (thin.dt, thin.times[0]) == (pytest.approx(0.2), TIMES[4])
    first, rest = series.split(0.6)
    assert (len(first), len(rest)) == (18, 12)
    assert series.select(["drag"]).names == ("drag",)
    noisy = series.with_noise(0.1, seed=1)
    assert (noisy.values == series.with_noise(0.1, seed=1).values).all()
    assert 0 < np.abs(noisy.values - VALUES).max() < 1
    with pytest.raises(BadInputError, match="run forward"):
        series[::-1]
    with pytest.raises(BadInputError, match="no feature 'x'"):
        series.select(["x"])
    with pytest.raises(BadInputError, match="between 0 and 1"):
        series.split(1.0)


def test_names_and_inputs_must_fit():
    with pytest.raises(BadInputError, match="3 names for 2 columns"):
        snapshots(VALUES, names=["a", "b", "c"])
    with pytest.raises(BadInputError, match="occurs twice"):
        snapshots(VALUES, names=["a", "a"])
    with pytest.raises(BadInputError, match="29 rows of inputs"):
        snapshots(VALUES, inputs=PUSH[1:])
    with pytest.raises(BadInputError, match="expected a time above 0"):
        snapshots(VALUES, dt=-1.0)


CSV = "t,x,y\n" + "".join(f"{k},{k * k},{(k * 7) % 5}\n" for k in range(12))


@pytest.mark.parametrize("fill", [None, "linear"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CSV.replace("t,x,y", "t,x,x"), "the column name 'x' occurs twice"),
        (CSV.replace("5,25,0", "5,25"), "line 7 has 2 columns, the header has 3"),
        (CSV.replace("5,25,0", "5"), "line 7 has 1 columns, the header has 3"),
        ("x\n1\n2\n\n4\n5\n", "line 4 is blank; write nan for a missing number"),
        ("t,x\n", "holds a header row and no rows"),
        (CSV.replace("0,0,0", "0O,0,0"), "time 't' is text, '0O', in row 1"),
        (CSV.replace("5,25,0", "5x,25,0"), "time 't' is text, '5x', in row 6"),
    ],
)  # fmt: skip
def test_a_table_whose_rows_do_not_fit_is_refused_whether_filled_or_not(tmp_path, text, message, fill):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(BadInputError, match=message):
        read_snapshots(tmp_path / "a.csv", fill=fill)


def test_a_column_of_dates_is_named_as_what_it_may_be(tmp_path):
    (tmp_path / "a.csv").write_text("when,x\n2018-01-01,1\n2018-01-02,2\n2018-01-03,4\n")
    with pytest.raises(BadInputError, match="columns of numbers, or name it with time='when' if it holds the times"):
        read_snapshots(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("who,x\nann,1\nbob,2\ncid,4\n")
    with pytest.raises(BadInputError, match=r"columns of numbers$"):
        read_snapshots(tmp_path / "b.csv")


def test_an_index_without_a_name_is_no_feature(tmp_path):
    frame = FRAME[["lift", "drag"]].iloc[5:]
    frame.to_csv(tmp_path / "a.csv")
    frame.to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        assert read_snapshots(tmp_path / name).names == ("lift", "drag")
    with open_field(tmp_path / "a.csv") as field:
        np.testing.assert_array_equal(field.piece((slice(0, 25), slice(0, 2))), VALUES[5:])
    (tmp_path / "b.csv").write_text("x\n1\n2\n4\n\n\n")
    assert read_snapshots(tmp_path / "b.csv").values.tolist() == [[1], [2], [4]]


def test_parquet_holds_decimals_and_durations(tmp_path):
    import pyarrow as arrow
    from pyarrow import parquet

    times, numbers = arrow.array([0, 10, 20], arrow.duration("s")), arrow.array([1, 2, 4]).cast(arrow.decimal128(30, 2))
    parquet.write_table(arrow.table({"time": times, "x": numbers}), tmp_path / "a.parquet")
    found = read_snapshots(tmp_path / "a.parquet")
    assert (found.values.tolist(), found.dt) == ([[1], [2], [4]], 10.0)
    parquet.write_table(
        arrow.Table.from_arrays([arrow.array([1.0, 2.0]), arrow.array([3.0, 5.0])], ["x", "x"]), tmp_path / "b.parquet"
    )
    with pytest.raises(BadInputError, match="'x' occurs twice"):
        read_snapshots(tmp_path / "b.parquet")


def test_parquet_with_many_values_in_a_cell_is_refused_before_they_are_read(tmp_path):
    import pyarrow as arrow
    from pyarrow import parquet

    lists = arrow.ListArray.from_arrays(arrow.array([0, 10**7], arrow.int32()), arrow.array(np.zeros(10**7)))
    long = arrow.array([b"\0" * 10**6] * 5, arrow.binary(10**6))
    for column, kind in ((lists, "list<"), (long, "fixed_size_binary")):
        parquet.write_table(arrow.table({"x": column}), tmp_path / "a.parquet", compression="zstd")
        with pytest.raises(BadInputError, match=f"'x' holds {kind}.*choose columns of numbers"):
            read_snapshots(tmp_path / "a.parquet")


def test_a_netcdf_file_of_64_bit_data_is_told_to_be_written_anew(tmp_path):
    (tmp_path / "a.nc").write_bytes(b"CDF\x05" + bytes(40))
    with pytest.raises(BadInputError, match=r"a\.nc is of the format CDF-5; write it as NetCDF-4: nccopy -k nc4 a\.nc"):
        read_snapshots(tmp_path / "a.nc")
