"""The store of runs: whole or absent, checked when read, held by one process at a time."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3

import pytest
from stores import add, child, filled, read_only, run_name, small_disk

from tokendyn.errors import BadInputError, OutputError
from tokendyn.runs.folders import NewerError
from tokendyn.runs.identity import input_digest, run_id
from tokendyn.runs.index import NAME, Index
from tokendyn.runs.query import parse
from tokendyn.runs.store import MANIFEST, BusyError, DamagedError, Store

HOLD = """
import sys, time
from tokendyn.runs.store import Store
with Store(sys.argv[1]).claim(sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""

HALF = """
import os, signal, sys
from tokendyn.runs.store import Store
store = Store(sys.argv[1])
with store.claim(sys.argv[2]), store.writing(sys.argv[2]) as folder:
    (folder / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def numbers(store):
    """Return the numbers of the runs that the index finds."""
    with Index(store) as index:
        index.refresh()
        return sorted(int(row.id, 16) for row in index.rows())


def test_a_run_is_read_as_it_was_written(tmp_path):
    store = Store(tmp_path / "runs")
    written = add(store, 3, error_of_fit=0.25)
    assert store.read(written.id, verify=True) == written
    assert written.results == {"clusters": 3, "error_of_fit": 0.25}
    assert set(written.files) == {"config.toml", "output/data.txt"}
    assert 'score = "2,0;0,1"' in (store.path(written.id) / "config.toml").read_text(encoding="utf-8")


def test_a_finished_run_is_never_replaced_and_a_failed_one_is(tmp_path):
    store = Store(tmp_path)
    add(store, 1, status="failed")
    assert add(store, 1).status == "completed"
    with pytest.raises(OutputError, match="runs rm"):
        add(store, 1)


def test_an_id_depends_on_command_options_inputs_and_code_but_not_on_places(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokens.csv").write_text("1,2\n", encoding="utf-8")
    first, second = (
        run_id("simulate", {"tokens": str(path), "alpha": 0.5}, {"tokens": input_digest(path)}, "1+a")
        for path in (tmp_path / "a" / "tokens.csv", tmp_path / "b" / "tokens.csv")
    )
    assert first == second
    (tmp_path / "b" / "tokens.csv").write_text("1,3\n", encoding="utf-8")
    others = [
        run_id(
            "simulate", {"tokens": "x", "alpha": 0.5}, {"tokens": input_digest(tmp_path / "b" / "tokens.csv")}, "1+a"
        ),
        run_id(
            "simulate", {"tokens": "x", "alpha": 0.6}, {"tokens": input_digest(tmp_path / "a" / "tokens.csv")}, "1+a"
        ),
        run_id("phase", {"tokens": "x", "alpha": 0.5}, {"tokens": input_digest(tmp_path / "a" / "tokens.csv")}, "1+a"),
    ]
    others.append(
        run_id(
            "simulate", {"tokens": "x", "alpha": 0.5}, {"tokens": input_digest(tmp_path / "a" / "tokens.csv")}, "1+b"
        )
    )
    assert len({first, *others}) == 5


def test_the_digest_of_a_folder_holds_names_and_contents(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").write_text("1", encoding="utf-8")
    before = input_digest(tmp_path / "model")
    (tmp_path / "model" / "a").rename(tmp_path / "model" / "b")
    assert input_digest(tmp_path / "model") != before


def test_the_digest_of_a_folder_follows_links_and_ends_where_they_go_in_a_circle(tmp_path):
    for name in ("texts", "elsewhere", "whole/pos"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "texts" / "pos").symlink_to(tmp_path / "elsewhere")
    for place in ("elsewhere", "whole/pos"):
        (tmp_path / place / "1.txt").write_text("a warm film", encoding="utf-8")
    before = input_digest(tmp_path / "texts")
    assert before == input_digest(tmp_path / "whole"), "a reader sees the same files in both"
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "texts")
    assert input_digest(tmp_path / "texts") == before
    (tmp_path / "elsewhere" / "1.txt").write_text("a dull film", encoding="utf-8")
    assert input_digest(tmp_path / "texts") != before


def cut(folder):
    text = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(text[: len(text) // 2])


def change_result(folder):
    record = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    record["results"]["clusters"] = 99
    (folder / MANIFEST).write_text(json.dumps(record), encoding="utf-8")


def flip(folder):
    file = folder / "output" / "data.txt"
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)


DAMAGES = {
    "manifest cut": cut,
    "manifest empty": lambda folder: (folder / MANIFEST).write_bytes(b""),
    "manifest gone": lambda folder: (folder / MANIFEST).unlink(),
    "manifest of another kind": lambda folder: (folder / MANIFEST).write_text("[1]", encoding="utf-8"),
    "manifest changed": change_result,
    "file gone": lambda folder: (folder / "output" / "data.txt").unlink(),
    "file cut": lambda folder: (folder / "output" / "data.txt").write_text("c", encoding="utf-8"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_never_read_as_whole_and_the_message_names_the_remedy(tmp_path, damage):
    store = filled(tmp_path, 3)
    DAMAGES[damage](store.path(run_name(2)))
    with pytest.raises(DamagedError, match=f"tokendyn runs rm {run_name(2)}"):
        store.read(run_name(2))
    assert store.finished(run_name(2)) is None
    with Index(store) as index:
        index.refresh()
        assert {int(row.id, 16): row.status for row in index.rows()} == {1: "completed", 2: "damaged", 3: "completed"}
    assert add(store, 2).status == "completed", "computing it again replaces it"


def by_hand(folder, **changes):
    """Change values of a manifest as somebody would who knows how its digest is made."""
    record = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    record = {**record, **changes}
    record.pop("digest")
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    record["digest"] = hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(record), encoding="utf-8")


@pytest.mark.parametrize(
    "changes",
    [{"status": "fine"}, {"status": []}, {"config": None}, {"results": [1]}, {"attempts": "1"}, {"files": [[]]},
     {"files": {"../../secret": [1, "a"]}}, {"files": {"/etc/passwd": [1, "a"]}}, {"files": {"a": [1e999, "a"]}},
     {"provenance": {"seed": [1]}}, {"provenance": {"seconds": {}}}, {"error": "\ud800"}, {"command": 3}],
)  # fmt: skip
def test_a_manifest_made_by_hand_is_damaged_where_its_values_cannot_be(tmp_path, changes):
    store = filled(tmp_path, 2)
    by_hand(store.path(run_name(1)), **changes)
    with pytest.raises(DamagedError):
        store.read(run_name(1))
    with Index(store) as index:
        index.refresh()
        assert {int(row.id, 16): row.status for row in index.rows()} == {1: "damaged", 2: "completed"}
        assert len(index.texts()) == 2


def test_a_seed_larger_than_the_index_can_hold_is_kept_in_the_manifest(tmp_path):
    store = filled(tmp_path, 1)
    by_hand(store.path(run_name(1)), provenance={"seed": 2**70, "finished": "2026-01-01T00:00:00+00:00"})
    with Index(store) as index:
        index.refresh()
        assert [row.seed for row in index.rows()] == [None]
    assert store.read(run_name(1)).provenance["seed"] == 2**70


def test_a_changed_byte_is_found_when_the_files_are_verified(tmp_path):
    store = filled(tmp_path, 2)
    flip(store.path(run_name(1)))
    with pytest.raises(DamagedError, match="changed after"):
        store.read(run_name(1), verify=True)
    with Index(store) as index:
        index.refresh(verify=True)
        assert [row.status for row in index.rows(parse(f"id = {run_name(1)}"))] == ["damaged"]


def test_a_run_under_the_name_of_another_is_damaged(tmp_path):
    store = filled(tmp_path, 1)
    shutil.copytree(store.path(run_name(1)), store.path(run_name(2)))
    with pytest.raises(DamagedError, match="that of run"):
        store.read(run_name(2))


@pytest.mark.parametrize("name", ["../x", "", "g" * 16, "0" * 15, "0" * 17, "/etc"])
def test_a_name_that_is_no_id_reaches_no_path(tmp_path, name):
    with pytest.raises(BadInputError, match="no run id"):
        Store(tmp_path).path(name)


def test_two_processes_cannot_hold_one_run_and_a_killed_one_lets_go(tmp_path):
    store = Store(tmp_path)
    holder = child(HOLD, tmp_path, run_name(1))
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(BusyError, match=f"process {holder.pid} on "), store.claim(run_name(1)):
        pytest.fail("it is held")
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert add(store, 1).status == "completed"
    assert os.listdir(tmp_path / ".locks") == []


def test_a_process_killed_while_it_writes_leaves_nothing_that_is_read(tmp_path):
    store = filled(tmp_path, 2)
    process = child(HALF, tmp_path, run_name(3))
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert numbers(store) == [1, 2]
    assert any(name.startswith(f".{run_name(3)}-") for name in os.listdir(tmp_path))
    assert store.clean() == 1
    assert store.clean() == 0
    assert sorted(os.listdir(tmp_path)) == [".locks", run_name(1), run_name(2), NAME]


def test_clearing_up_leaves_alone_what_is_being_written(tmp_path):
    store = Store(tmp_path)
    with store.claim(run_name(1)), store.writing(run_name(1)) as folder:
        assert store.clean() == 0
        assert folder.is_dir()


def test_clearing_up_takes_half_written_checkpoints_and_leaves_whole_ones(tmp_path):
    store = Store(tmp_path)
    whole = store.checkpoint(run_name(1))
    whole.parent.mkdir()
    whole.write_bytes(b"whole")
    half, held = (whole.with_name(f".{run_name(number)}-abcd.safetensors") for number in (1, 2))
    for path in (half, held):
        path.write_bytes(b"half")
    with store.claim(run_name(2)):
        assert store.clean() == 1
    assert (whole.exists(), half.exists(), held.exists()) == (True, False, True)


def test_a_run_comes_back_whose_replacement_was_killed_between_two_renames(tmp_path):
    store = Store(tmp_path)
    stopped = add(store, 1, status="stopped")
    aside = tmp_path / f".{stopped.id}-old-abcd"
    aside.mkdir()
    store.path(stopped.id).rename(aside / stopped.id)
    assert store.clean() == 1
    assert store.read(stopped.id, verify=True) == stopped
    assert not aside.exists()


def test_a_changed_byte_lets_a_finished_run_be_made_again_and_a_newer_one_is_never_replaced(tmp_path):
    store = Store(tmp_path)
    run = add(store, 1).id
    data = store.path(run) / "output" / "data.txt"
    content = data.read_bytes()
    data.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    add(store, 1)
    assert data.read_bytes() == content
    manifest = store.path(run) / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema_version": 99}))
    for ask in (store.finished, lambda run: add(store, 1)):
        with pytest.raises(NewerError):
            ask(run)
    assert json.loads(manifest.read_text())["schema_version"] == 99


def test_a_removed_run_is_gone_at_once(tmp_path):
    store = filled(tmp_path, 2)
    store.remove(run_name(1))
    assert numbers(store) == [2]
    with pytest.raises(BadInputError, match="no run"):
        store.remove(run_name(1))


def test_a_full_disk_is_one_message_and_leaves_nothing_half_written(tmp_path):
    with small_disk(tmp_path / "disk", "200k") as disk:
        store = filled(disk / "runs", 2)
        with pytest.raises(OutputError, match="No space left"):
            add(store, 3, text="x" * 400_000)
        assert numbers(store) == [1, 2]
        assert add(store, 3, text="small").status == "completed", "room was given back"


def test_a_read_only_store_is_listed_and_says_that_it_cannot_be_written(tmp_path):
    with small_disk(tmp_path / "disk", "400k") as disk:
        store = filled(disk / "runs", 3)
        read_only(disk)
        with Index(store) as index:
            index.refresh()
            assert len(index.rows()) == 3
            assert "cannot be written" in index.notes[0]
        with pytest.raises(OutputError, match=r"Read-only.*TOKENDYN_RUNS"):
            add(store, 4)


@pytest.mark.parametrize("content", [b"", b"no database at all " * 500, None])
def test_a_damaged_index_is_built_anew(tmp_path, content):
    store = filled(tmp_path, 4)
    assert numbers(store) == [1, 2, 3, 4]
    if content is None:
        whole = (tmp_path / NAME).read_bytes()
        content = whole[:4096] + bytes(range(256)) * ((len(whole) - 4096) // 256)
    for suffix in ("-wal", "-shm"):
        (tmp_path / (NAME + suffix)).unlink(missing_ok=True)
    (tmp_path / NAME).write_bytes(content)
    with Index(store) as index:
        index.refresh()
        assert [("built anew" in note) for note in index.notes] == ([True] if content else [])
        assert len(index.rows()) == 4


def test_an_index_that_fails_while_it_is_used_is_replaced_by_the_folders(tmp_path):
    store = filled(tmp_path, 3)
    with Index(store) as index:
        index._database.execute("DROP TABLE runs")
        index.add([store.read(run_name(1))])
        index.refresh()
        assert len(index.rows()) == 3
        assert "read from their folders" in index.notes[0]


@pytest.mark.parametrize("content", [b"{no json", b"\xff\xfe", b""])
def test_rows_of_the_index_that_cannot_be_read_are_read_from_the_folders(tmp_path, content):
    store = filled(tmp_path, 3)
    assert numbers(store) == [1, 2, 3]
    for kind in ("rows", "texts"):
        with Index(store) as index:
            index.refresh()
            whole = [row.record() for row in index.rows()]
            index._database.execute("UPDATE runs SET config = CAST(? AS TEXT) WHERE seed = 2", (content,))
        with Index(store) as index:
            index.refresh()
            found = index.rows() if kind == "rows" else index.texts()
            assert [row.record() if kind == "rows" else json.loads(row) for row in found] == whole
            assert "read from their folders" in index.notes[0]


def test_an_index_of_another_version_is_built_anew(tmp_path):
    store = filled(tmp_path, 2)
    numbers(store)
    with sqlite3.connect(tmp_path / NAME) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    assert numbers(store) == [1, 2]


def test_the_index_follows_the_folders_whatever_the_clock_says(tmp_path):
    store = filled(tmp_path, 3)
    assert numbers(store) == [1, 2, 3]
    shutil.rmtree(store.path(run_name(1)))
    change_result(store.path(run_name(2)))
    os.utime(store.path(run_name(2)) / MANIFEST, (0, 0))
    add(store, 4)
    with Index(store) as index:
        index.refresh()
        found = {int(row.id, 16): row.status for row in index.rows()}
    assert found == {2: "damaged", 3: "completed", 4: "completed"}


def test_ids_are_found_by_their_beginning(tmp_path):
    store = filled(tmp_path, 2)
    with Index(store) as index:
        index.refresh()
        assert index.full_id(run_name(2)) == run_name(2)
        with pytest.raises(BadInputError, match="begins 2 ids"):
            index.full_id("00")
        with pytest.raises(BadInputError, match="no run"):
            index.full_id("ff")
        with pytest.raises(BadInputError, match="no run id"):
            index.full_id("%")


CONDITIONS = {
    "alpha > 0.25": {3, 4, 5},
    "alpha>=0.3 and clusters < 5": {3, 4},
    "alpha = 0.1 or alpha=.2": {1, 2},
    "not (strict = true)": {1, 3, 5},
    "strict = false or not alpha < 0.4 and status = completed": {1, 3, 4, 5},
    "status = failed": {5},
    'score = "2,0;0,1" and seed <= 1': {1},
    "score = 2,0;0,1": {1, 2, 3, 4, 5},
    "score > 0": set(),
    "softmax = none": {1, 2, 3, 4, 5},
    "softmax > 1": set(),
    "alpha != none and (clusters > 4)": {5},
    "extra = 1e-3": {5},
    "id = 0000000000000003": {3},
    "finished >= 2026-01-01T00:00:04": {4, 5},
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_runs_are_found_by_condition(tmp_path, condition):
    store = filled(tmp_path, 4)
    add(store, 5, status="failed", extra=0.001)
    with Index(store) as index:
        index.refresh()
        assert {int(row.id, 16) for row in index.rows(parse(condition))} == CONDITIONS[condition]


@pytest.mark.parametrize(
    "condition",
    ["", "alpha", "alpha >", "> 3", "alpha > 0.5 and", "(alpha > 1", "alpha > 1)", "alpha ! 3", "1 = 1", "a = b c",
     "alpha > 0; DROP TABLE runs", "alpha = 1 -- x", "__import__('os')", "not " * 60 + "a = 1",
     "a = 1 or " * 300 + "a = 1",
     "(" * 50 + "a = 1" + ")" * 50, '"alpha" = 1'],
)  # fmt: skip
def test_what_is_no_condition_is_refused(condition):
    with pytest.raises(BadInputError, match="condition"):
        parse(condition)


def test_an_unknown_name_is_met_with_the_nearest(tmp_path):
    store = filled(tmp_path, 1)
    with Index(store) as index:
        index.refresh()
        with pytest.raises(BadInputError, match="did you mean alpha"):
            index.rows(parse("alhpa > 1"))
        assert index.rows(parse("alpha > 1")) == []
