"""The page of a model: a verdict with nulls and errors, tables in groups, a film that needs no script."""

import dataclasses
import re

import numpy as np
import pytest

from tokendyn.errors import BadInputError
from tokendyn.models.inspection import Inspection
from tokendyn.models.nulls import ANY, LOUDEST
from tokendyn.models.page import inspection_page
from tokendyn.models.tables import head_words, heads_table, layers_table
from tokendyn.models.verdict import measured, number, verdict
from tokendyn.show.film import MOST_POINTS, MOST_STOPS, film
from tokendyn.show.report import Cell, Report, Table, report_html

TEXTS, LAYERS, HEADS, TOKENS = 12, 2, 3, 9


def planted(**values):
    """Return an inspection with made-up measures, all of one size; each test plants its own answer."""
    rng = np.random.default_rng(0)

    def noisy(mean, *shape):
        return mean + 0.001 * rng.normal(size=(TEXTS, *shape))

    runs = ("model", "no attention", "no feed-forward", "random weights")
    heads = {"cold": 0.5, "cold_random": 0.05, "entropy": 0.4, "keys": 9.0, "slope": 1.0, "r2": 0.9, "variation": 0.1,
             "same_top": 0.7, "permuted": 0.2, "commonest": 0.4, "lead": 8.0, "lead_null": 2.0, "sink_attention": 0.2,
             "sink_output": 0.02, "moved": 0.1, "held": 0.5, "held_null": 0.2}  # fmt: skip
    ranks = {"no dynamics": 0.5, "attention alone": 0.6, "feed-forward alone": 0.4, "all = model": 1.0}
    fields = {
        "source": "planted", "family": "BERT", "tokens": tuple("[abcdefg]"), "lengths": (TOKENS,) * TEXTS,
        "states": rng.normal(size=(LAYERS + 1, TOKENS, 8)),
        "within": {name: noisy(0.3 if name == "model" else 0.1, LAYERS + 1) for name in runs},
        "across": {name: noisy(0.1, LAYERS + 1) for name in runs},
        "rank": noisy(0.5, LAYERS + 1), "clusters": noisy(0.4, LAYERS + 1, 2),
        "head_measures": {name: noisy(mean, LAYERS, HEADS) for name, mean in heads.items()},
        "received": np.ones((LAYERS, TOKENS)), "sinks": np.zeros((LAYERS, TOKENS)),
        "motion_shares": noisy(0.25, LAYERS, 4),
        "effects": {"layer 0": noisy(-0.01), "layer 1": noisy(-0.1), LOUDEST: noisy(-0.05), ANY: noisy(0.0)},
        "own": {"layer 0": noisy(0.9), "layer 1": noisy(0.8), LOUDEST: noisy(0.8), ANY: noisy(0.99)},
        "ladder_rank": {name: noisy(mean) for name, mean in ranks.items()},
        "ladder_gathering": {name: noisy(0.1) for name in ranks},
        "nulls": {"rank": noisy(0.6, LAYERS + 1), "clusters": noisy(0.6, LAYERS + 1, 2),
                  "motion": noisy(0.1, LAYERS, 4)},
    }  # fmt: skip
    return Inspection(**{**fields, **values})


def few(inspection, count=1):
    """Return the same for the first texts."""

    def cut(value):
        return {name: array[:count] for name, array in value.items()} if isinstance(value, dict) else value[:count]

    names = ("lengths", "within", "across", "rank", "clusters", "head_measures", "motion_shares", "effects", "own",
             "ladder_rank", "ladder_gathering", "nulls")  # fmt: skip
    return dataclasses.replace(inspection, **{name: cut(getattr(inspection, name)) for name in names})


def sentence(inspection, words):
    return next(line for line in verdict(inspection) if words in line)


def test_every_sentence_has_an_error_or_says_that_it_cannot_tell():
    lines = verdict(planted())
    assert len(lines) >= 10
    for line in lines[1:]:
        assert "±" in line or "annot tell" in line or "no token is a sink" in line.lower(), line
    assert len(set(lines)) == len(lines)


def test_planted_answers_are_told():
    lines = " ".join(verdict(planted()))
    assert "Tokens of a text gather" in lines
    assert "Layer 1 does most" in lines
    assert "fewer clusters than those of mixed texts" in lines
    assert "changes the others more than a random one" in lines
    assert "hold for 2 layers" in lines
    assert "ranks the pairs of the last layer better than no dynamics" in lines


def test_what_does_not_differ_from_its_null_cannot_be_told():
    base = planted()
    same = dataclasses.replace(
        base, within={**base.within, "model": base.across["model"]},
        effects={**base.effects, "layer 0": base.effects["layer 1"] + 1e-5},
        nulls={**base.nulls, "clusters": base.clusters}, own={**base.own, ANY: base.own[LOUDEST]},
    )  # fmt: skip
    lines = verdict(same)
    for words in ("text gather", "which layer does most", "text cluster", "matters more than a random one"):
        assert any(line.startswith("Cannot tell") and words in line for line in lines), words


def test_a_layer_that_is_only_just_ahead_of_the_next_does_not_do_most():
    base = planted()
    rng = np.random.default_rng(1)
    close = {**base.effects, "layer 0": base.effects["layer 1"] + 0.01 * rng.normal(size=TEXTS)}
    assert sentence(dataclasses.replace(base, effects=close), "does most").startswith("Cannot tell")


def test_single_heads_stand_beside_how_many_would_differ_by_chance():
    rng = np.random.default_rng(0)
    heads = {f"head 0.{head}": 0.01 * rng.normal(size=TEXTS) for head in range(40)}
    heads["head 1.2"] = -0.1 + 0.001 * rng.normal(size=TEXTS)
    base = planted()
    line = sentence(dataclasses.replace(base, effects={**base.effects, **heads}), "single heads")
    assert re.match(r"[12] of 41 single heads .*about 0\.5 by chance.*head 1\.2 with -0\.10", line)


def test_one_text_is_a_short_verdict_without_errors():
    lines = verdict(few(planted()))
    assert "1 text cannot tell" in lines[1]
    assert len(lines) <= 8
    assert not any("±" in line for line in lines)


def test_the_error_says_how_many_digits_a_mean_has():
    inspection = planted()
    noise = np.random.default_rng(0).normal(size=TEXTS)
    noise = (noise - noise.mean()) / noise.std(ddof=1) * np.sqrt(TEXTS)
    assert measured(0.12345 + 0.02 * noise, inspection) == "0.12 ± 0.02"
    assert measured(0.12345 + 0.002 * noise, inspection) == "0.123 ± 0.002"
    assert measured(0.5 + 0.03 * noise, inspection, percent=True) == "50 ± 3 %"
    assert number(-0.001) == "0.00"


def test_a_head_is_described_by_what_is_special_about_it():
    base = planted()
    measures = {name: values.copy() for name, values in base.head_measures.items()}
    measures["cold"][:, 0, 1] = 3.0
    measures["sink_attention"][:, 1, 0] = 0.8
    measures["entropy"][:, 1, 2] = 0.95
    measures["held"][:, 1, 2] = 0.2
    frame = dataclasses.replace(base, head_measures=measures).heads
    words = [head_words(row) for _, row in frame.iterrows()]
    assert words == [[], ["frozen"], [], ["idle", "as in layer 0"], ["as in layer 0"], ["even"]]


def test_tables_have_groups_and_errors_in_the_cells():
    table = layers_table(planted())
    assert sum(span for _, span in table.groups) == len(table.header)
    assert [name for name, _ in table.groups] == [
        "", "Gathering", "Mean cosine", "Rank / tokens", "Clusters / tokens"
    ]  # fmt: skip
    assert re.fullmatch(r"0\.\d{3} ± 0\.\d{3}", table.shown[0][1].text)
    assert all(number for _, number in table.titles)
    assert heads_table(planted()).titles[1] == ("special", False)
    assert len(heads_table(few(planted())).rows) == LAYERS * HEADS


def test_a_page_of_states_alone_has_no_tables_of_heads():
    base = few(planted())
    alone = dataclasses.replace(
        base, within={"model": base.within["model"]}, across={"model": np.full((1, LAYERS + 1), np.nan)},
        head_measures={}, motion_shares=None, received=None, sinks=None, effects={}, own={}, ladder_rank={}, nulls={},
    )  # fmt: skip
    page = report_html(inspection_page(alone, title="states", command=""))
    assert "Cannot tell whether tokens gather" in page
    assert "Where do they go?" in page
    assert "What is switched off" not in page


def test_header_and_first_column_of_a_grouped_table_stay():
    rows = [[1, Cell("2 ± 1", number=True)]]
    page = report_html(Report("t", sections=[Table(rows, "h", columns=["a", "b"], groups=[("x", 1), ("y", 1)])]))
    assert '<th scope="colgroup" colspan="1">y</th>' in page
    assert '<th scope="col" class="td-number">b</th>' in page
    assert "td-grouped" in page


@pytest.fixture(scope="module")
def moving():
    places = np.random.default_rng(0).normal(size=(4, 6, 2))
    return film(places, [*"abc<&", ""], ["#0072B2"] * 6, [True] * 5 + [False], unit="layer", alt="points", caption="c")


def test_a_film_moves_by_style_alone_and_honours_reduced_motion(moving):
    page = report_html(Report("film", sections=[moving]))
    assert "<script" not in page
    assert "script-src" not in page
    assert page.count('class="td-moves"') == 6
    assert page.count("<polyline") == 6
    for stop in range(4):
        assert f"#{moving.name}-{stop}:checked ~" in page
    assert "play</label>" in page
    assert "pause</label>" in page
    reduced = page[page.index("(prefers-reduced-motion: reduce)") :]
    assert "step-end" in reduced[:200]
    assert "&lt;" in page  # a label is escaped


def test_points_keep_their_proportions_and_stay_inside(moving):
    places = np.array([point.places for point in moving.points])
    assert places.min() > 0
    assert (places[..., 0] < moving.width).all()
    assert (places[..., 1] < moving.height).all()
    original = np.random.default_rng(0).normal(size=(4, 6, 2)).transpose(1, 0, 2)
    order = [list("abc<&").index(point.label) if point.label else 5 for point in moving.points]
    steps = np.linalg.norm(np.diff(places, axis=1), axis=2)
    expected = np.linalg.norm(np.diff(original[order], axis=1), axis=2)
    assert steps / expected == pytest.approx(np.full_like(steps, (steps / expected)[0, 0]), rel=1e-6)


def test_labels_at_one_place_are_shown_once():
    places = np.zeros((2, 3, 2))
    places[:, 2] = 1.0
    shown = film(places, ["left", "same", "other"], ["#0072B2"] * 3, [True] * 3, unit="layer", alt="points")
    assert sorted(point.label for point in shown.points if point.named) == ["other", "same"]
    assert all(point.large for point in shown.points)


def test_a_film_is_bounded_and_needs_finite_places():
    rng = np.random.default_rng(0)
    long = film(rng.normal(size=(90, MOST_POINTS + 9, 2)), ["t"] * (MOST_POINTS + 9), ["#0072B2"] * (MOST_POINTS + 9),
                [False] * (MOST_POINTS + 9), unit="layer", alt="points")  # fmt: skip
    assert (len(long.points), len(long.stops)) == (MOST_POINTS, MOST_STOPS)
    assert long.stops[-1] == "89"
    with pytest.raises(BadInputError, match="two stops or more"):
        film(np.full((3, 2, 2), np.nan), ["a", "b"], ["#0072B2"] * 2, [True] * 2, unit="layer", alt="points")
