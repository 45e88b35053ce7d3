"""Files and folders are whole or absent, and say what is wrong when they cannot be read."""

import errno
import json
import math
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tokendyn.errors import BadInputError, OutputError, TheoremError, TokendynError
from tokendyn.runs.files import check_free, new_file, new_folder, read_json, read_tensors, write_json, write_tensors
from tokendyn.runs.folders import LIST
from tokendyn.runs.provenance import provenance


def names(folder):
    """Return the names in a folder, without the list by which tokendyn knows its own."""
    return sorted(path.name for path in folder.iterdir() if path.name != LIST)


def test_a_folder_appears_when_its_block_ends(tmp_path):
    target = tmp_path / "a" / "b"
    with new_folder(target) as temporary:
        (temporary / "file").write_text("x", encoding="utf-8")
        assert not target.exists()
    assert (target / "file").read_text(encoding="utf-8") == "x"
    assert names(target.parent) == ["b"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def fail_midway(manager, target, **options):
    """Begin to write ``target`` and raise before the end."""
    with manager(target, **options) as temporary:
        (temporary / "half" if temporary.is_dir() else temporary).write_text("half", encoding="utf-8")
        raise RuntimeError("midway")


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_error_inside_leaves_no_folder_behind(tmp_path, overwrite):
    with pytest.raises(RuntimeError, match="midway"):
        fail_midway(new_folder, tmp_path / "run", overwrite=overwrite)
    assert names(tmp_path) == []


def test_an_error_while_overwriting_keeps_the_old_folder(tmp_path):
    with new_folder(tmp_path / "run") as temporary:
        (temporary / "old").write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError, match="midway"):
        fail_midway(new_folder, tmp_path / "run", overwrite=True)
    assert names(tmp_path / "run") == ["old"]
    assert names(tmp_path) == ["run"]


def test_overwriting_replaces_the_whole_folder(tmp_path):
    for name in ("old", "new"):
        with new_folder(tmp_path / "run", overwrite=True) as temporary:
            (temporary / name).write_text(name, encoding="utf-8")
    assert names(tmp_path / "run") == ["new"]
    assert names(tmp_path) == ["run"]


FOREIGN = {
    "a file in place of the folder": lambda run: run.write_text("thesis"),
    "a file": lambda run: (run.mkdir(), (run / "thesis.txt").write_text("x")),
    "a file deep down": lambda run: ((run / "sub" / "more").mkdir(parents=True), (run / "sub/more/x.csv").touch()),
    "a link to a folder": lambda run: (run.mkdir(), (run / "link").symlink_to(run.parent)),
    "a link to nothing": lambda run: run.symlink_to("nowhere"),
    "a file beside ours": lambda run: (written(run), (run / "notes.txt").write_text("mine")),
    "a hidden file beside ours": lambda run: (written(run), (run / ".git").touch()),
    "a file in a new folder beside ours": lambda run: (written(run), (run / "x").mkdir(), (run / "x/y").touch()),
    "a list that is damaged": lambda run: (written(run), (run / LIST).write_text("{")),
    "a list of a newer version": lambda run: (
        written(run), (run / LIST).write_text('{"schema": "tokendyn-folder", "schema_version": 99, "files": ["f"]}'),
    ),
}  # fmt: skip


def written(run):
    """Write a folder as tokendyn does."""
    with new_folder(run) as temporary:
        (temporary / "f").touch()
        (temporary / "deep").mkdir()
        (temporary / "deep" / "g").touch()


def everything(folder):
    """Return all that lies under a folder."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_tokendyn_did_not_write_is_never_replaced(tmp_path, kind):
    target = tmp_path / "run"
    FOREIGN[kind](target)
    before = everything(tmp_path)
    with pytest.raises(OutputError, match="did not write"), new_folder(target, overwrite=True):
        pytest.fail("the block must not run")
    assert everything(tmp_path) == before


def test_an_empty_folder_and_one_of_ours_with_a_page_made_later_are_replaced(tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("first", "second", "third"):
        with new_folder(tmp_path / "run", overwrite=True) as temporary:
            (temporary / name).touch()
        with new_file(tmp_path / "run" / "report.html") as page:
            page.write_text("<html>", encoding="utf-8")
    assert names(tmp_path / "run") == ["report.html", "third"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    written(tmp_path / "run")
    (tmp_path / "latest").symlink_to("run")
    with new_folder(tmp_path / "latest", overwrite=True) as temporary:
        (temporary / "new").touch()
    assert (tmp_path / "latest").is_symlink()
    assert names(tmp_path / "run") == ["new"]
    (tmp_path / "page.html").symlink_to("run/page.html")
    with new_file(tmp_path / "page.html") as page:
        page.write_text("<html>", encoding="utf-8")
    assert (tmp_path / "page.html").is_symlink()
    assert names(tmp_path / "run") == ["new", "page.html"]
    assert names(tmp_path) == ["latest", "page.html", "run"]


def test_a_place_with_two_points_is_replaced_where_it_lies(tmp_path):
    written(tmp_path / "run")
    with new_folder(tmp_path / "run" / ".." / "run", overwrite=True) as temporary:
        (temporary / "new").touch()
    assert names(tmp_path / "run") == ["new"]
    assert names(tmp_path) == ["run"]


def test_the_folder_in_which_a_command_runs_is_not_taken_from_under_it(tmp_path, monkeypatch):
    written(tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run" / "deep")
    for target in ("..", ".", tmp_path / "run"):
        with pytest.raises(OutputError, match="runs in it"), new_folder(target, overwrite=True):
            pytest.fail("the block must not run")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [LIST, "deep", "f", "g", "run"]


@pytest.mark.parametrize("error", [OSError(errno.EBUSY, "Device or resource busy"), KeyboardInterrupt()])
def test_an_old_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch, error):
    written(tmp_path / "run")
    before, rename = everything(tmp_path), Path.rename

    def refuse(self, target):
        if Path(target) == tmp_path / "run" and self.name != "run":
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises((OutputError, KeyboardInterrupt)), new_folder(tmp_path / "run", overwrite=True) as temporary:
        (temporary / "new").touch()
    assert everything(tmp_path) == before


def test_an_old_folder_that_cannot_come_back_is_kept_aside(tmp_path, monkeypatch):
    written(tmp_path / "run")
    rename = Path.rename

    def refuse(self, target):
        if Path(target) == tmp_path / "run":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with (
        pytest.raises(OutputError, match=r"Input/output.* is kept in"),
        new_folder(tmp_path / "run", overwrite=True) as temporary,
    ):
        (temporary / "new").touch()
    assert [path.name for path in tmp_path.rglob("g")] == ["g"], "nothing of the old folder is lost"


@pytest.mark.parametrize("place", ["file/run", "file/deep/run", "closed/run"])
def test_a_place_that_cannot_be_written_is_said_before_any_work(tmp_path, place, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir()
    access = os.access  # the superuser may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed" and access(path, mode))
    with pytest.raises(OutputError, match=r"cannot write .* (not a folder|Permission denied)"):
        check_free(tmp_path / place, overwrite=False)


@pytest.mark.parametrize(("name", "content", "free"), [
    ("page.html", "<footer>Made by tokendyn.</footer>", True), ("page.html", "<p>my tokendyn notes</p>", False),
    ("model.onnx", "tokendyn", True), ("model.onnx", "torch", False), ("thesis.txt", "Made by tokendyn", False),
])  # fmt: skip
def test_a_file_is_replaced_only_when_it_is_signed(tmp_path, name, content, free):
    (tmp_path / name).write_text(content, encoding="utf-8")
    if free:
        check_free(tmp_path / name, overwrite=True)
    else:
        with pytest.raises(OutputError, match="this file"):
            check_free(tmp_path / name, overwrite=True)
    with pytest.raises(OutputError, match="exists already"):
        check_free(tmp_path / name, overwrite=False)


def test_an_existing_folder_is_an_output_error_before_any_work(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(OutputError, match="overwrite=True"), new_folder(tmp_path / "run"):
        pytest.fail("the block must not run")


def test_a_file_in_the_way_of_the_parent_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"), new_folder(tmp_path / "file" / "run"):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_disk_that_refuses_is_an_output_error_that_says_why(tmp_path, number, monkeypatch):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    for maker, manager in (("mkdtemp", new_folder), ("mkstemp", new_file)):
        monkeypatch.setattr(f"tokendyn.runs.folders.tempfile.{maker}", refuse)
        with pytest.raises(OutputError, match=os.strerror(number)), manager(tmp_path / "run"):
            pytest.fail("the block must not run")
    assert names(tmp_path) == []


@pytest.mark.parametrize("manager", [new_folder, new_file])
def test_a_disk_that_fills_up_midway_is_an_output_error_and_leaves_nothing(tmp_path, manager):
    def fill(target):
        with manager(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match="No space left"):
        fill(tmp_path / "run")
    assert names(tmp_path) == []


def test_tensors_on_a_disk_that_fills_up_are_an_output_error_and_leave_nothing(tmp_path):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 22, hard))
    try:
        with pytest.raises(OutputError, match="File too large; raise the limit"):
            write_tensors(tmp_path / "x.safetensors", {"x": np.zeros(1 << 20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


def test_a_file_appears_when_its_block_ends_and_replaces_the_old_one(tmp_path):
    target = tmp_path / "deep" / "picture.svg"
    for text in ("one", "two"):
        with new_file(target) as temporary:
            assert temporary.suffix == ".svg"
            temporary.write_text(text, encoding="utf-8")
        assert target.read_text(encoding="utf-8") == text
    assert names(target.parent) == ["picture.svg"]


def test_an_error_inside_keeps_the_old_file(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError, match="midway"):
        fail_midway(new_file, target)
    assert target.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["table.csv"]


def test_a_folder_in_the_way_of_a_file_is_an_output_error(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="cannot write"), new_file(tmp_path / "out") as temporary:
        temporary.touch()
    assert names(tmp_path) == ["out"]


def test_json_is_read_as_written(tmp_path):
    record = {"schema": "a", "schema_version": 1, "name": "Grüße ☃", "numbers": [0.1, 1e-300, None, True]}
    write_json(tmp_path / "record.json", record)
    assert read_json(tmp_path / "record.json", schema="a", version=3) == record
    assert "Grüße ☃" in (tmp_path / "record.json").read_text(encoding="utf-8")


def test_json_refuses_numbers_that_json_does_not_know(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "record.json", {"value": math.nan})
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "holds 'list'"),
        ('{"schema": "b", "schema_version": 1}', "holds 'b', expected 'a'"),
        ('{"schema": "a"}', "schema version None"),
        ('{"schema": "a", "schema_version": "1"}', "schema version 1"),
        ('{"schema": "a", "schema_version": 4}', "update it"),
        ("[" * 100_000, "cannot be read"),
    ],
    ids=["empty", "cut", "list", "schema", "no version", "text version", "newer", "nested"],
)
def test_json_that_cannot_be_used_is_refused_with_a_reason(tmp_path, text, message):
    (tmp_path / "record.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError, match=message):
        read_json(tmp_path / "record.json", schema="a", version=3)


@pytest.mark.parametrize("read", [lambda p: read_json(p, schema="a", version=1), read_tensors])
def test_a_missing_file_and_a_folder_instead_of_a_file_are_bad_input(tmp_path, read):
    with pytest.raises(BadInputError, match="missing"):
        read(tmp_path / "none")
    with pytest.raises(BadInputError, match=r"cannot be read|not a whole"):
        read(tmp_path)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.bool_, np.uint8])
def test_tensors_are_read_to_the_bit(tmp_path, dtype, rng):
    tensors = {
        "a": (100 * rng.normal(size=(3, 4))).astype(dtype),
        "strided": (100 * rng.normal(size=(6, 4))).astype(dtype)[::2, ::-1],
        "empty": np.empty((0, 2), dtype=dtype),
    }
    write_tensors(tmp_path / "t.safetensors", tensors)
    loaded = read_tensors(tmp_path / "t.safetensors", {"a", "strided"})
    for name, array in tensors.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)
    assert names(tmp_path) == ["t.safetensors"]


def test_every_truncation_of_tensors_is_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"a": np.arange(4.0)})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BadInputError, match="not a whole"):
            read_tensors(path)


def test_tensors_that_lack_a_name_are_refused(tmp_path):
    write_tensors(tmp_path / "t.safetensors", {"a": np.ones(2)})
    with pytest.raises(BadInputError, match="lacks b, c"):
        read_tensors(tmp_path / "t.safetensors", {"a", "b", "c"})


def test_provenance_is_json_with_versions(tmp_path):
    record = provenance({"alpha": 0.5}, seed=3, seconds=1.23456)
    assert record["seed"] == 3
    assert record["seconds"] == 1.235
    assert set(record["libraries"]) >= {"numpy", "torch", "numba"}
    write_json(tmp_path / "record.json", record)


def test_all_problems_are_one_error():
    assert str(BadInputError.all_of("tokens.csv", ["row 3 is short"])) == "tokens.csv: row 3 is short"
    both = TheoremError.all_of("tokens.csv", ["one", "two"])
    assert str(both) == "tokens.csv: 2 problems\n  - one\n  - two"
    assert isinstance(both, (TheoremError, BadInputError, ValueError))


def test_every_error_knows_its_exit_code():
    codes = {kind: kind.exit_code for kind in (TokendynError, BadInputError, TheoremError, OutputError)}
    assert codes == {TokendynError: 1, BadInputError: 2, TheoremError: 2, OutputError: 2}
    assert json.dumps(sorted(set(codes.values()))) == "[1, 2]"


def test_what_a_killed_process_left_is_cleared_when_the_folder_is_written_again(tmp_path):
    program = (
        "import os, sys; from tokendyn.runs.folders import new_folder\n"
        "with new_folder(sys.argv[1]) as folder: (folder / 'half').write_text('x'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "out"], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out-")
    others = (tmp_path / ".out-mine", tmp_path / f".output-{left.name[5:]}", tmp_path / ".out-old-abcd")
    for other in others:
        other.mkdir()
    with new_folder(tmp_path / "out") as first:
        assert not left.exists()
        # What is being written, here by this process, stays.
        with new_folder(tmp_path / "out"):
            assert first.is_dir()
    assert {other.name for other in others} <= {path.name for path in tmp_path.iterdir()}
