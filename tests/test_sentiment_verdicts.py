import json

import numpy as np
import pytest
from published_leaders import published

from tokendyn.data.texts import small_reviews


@pytest.fixture(scope="module")
def corpus():
    return small_reviews()


@pytest.fixture(scope="module", params=[{}, {"ngrams": 2, "negation": True}, {"layers": 0}])
def model(request, corpus):
    return published(epochs=2, **request.param).fit(corpus.texts, corpus.labels)


ODD = ("", "zzqx", "<br/>", "Not excellent. <b>Excellent</b> and not awful, awful")


def test_many_explanations_are_those_of_one_at_a_time(model, corpus):
    texts = (*corpus.texts[:80], *ODD)
    for text, verdict in zip(texts, model.explain_many(texts), strict=True):
        why = model.explain(text)
        assert verdict.label == why.label
        assert [(led.word, led.spans) for led in verdict.leaders] == [(led.word, led.spans) for led in why.leaders]
        found = [(led.mass, led.value, led.contribution) for led in verdict.leaders]
        expected = [(led.mass, led.value, led.contribution) for led in why.leaders]
        np.testing.assert_allclose(np.array(found), np.array(expected), rtol=0, atol=1e-12)
        numbers = (verdict.probability, verdict.logit, verdict.bias, verdict.residual)
        np.testing.assert_allclose(numbers, (why.probability, why.logit, why.bias, why.residual), rtol=0, atol=1e-12)


def test_lines_of_json_hold_the_same(model, corpus, tmp_path):
    texts = (*corpus.texts[:40], *ODD)
    assert model.explain_jsonl(texts, tmp_path / "why.jsonl") == len(texts)
    lines = [json.loads(line) for line in (tmp_path / "why.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    for row, (line, verdict) in enumerate(zip(lines, model.explain_many(texts), strict=True), start=1):
        assert line == json.loads(json.dumps({"row": row, **verdict.to_dict()}))


def test_nothing_is_written_when_a_text_fails(model, tmp_path):
    with pytest.raises(ValueError, match=r"texts\[1\]"):
        model.explain_jsonl(["fine", None], tmp_path / "why.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_global_leaders_are_sums_over_the_explanations(model, corpus):
    texts = corpus.texts[:100]
    table = model.global_leaders(texts, top=None, examples=2)
    whys = [dict(model.explain(text).as_list()) for text in texts]
    assert set(table["word"]) == {word for why in whys for word in why}
    for record in table.head(20).to_dict("records"):
        parts = {row: why[record["word"]] for row, why in enumerate(whys) if record["word"] in why}
        assert record["times"] == len(parts)
        assert record["total"] == pytest.approx(sum(parts.values()), abs=1e-9)
        assert record["mean"] == pytest.approx(record["total"] / record["times"])
        assert set(record["examples"]) <= set(parts)
        assert abs(parts[record["examples"][0]]) == pytest.approx(max(map(abs, parts.values())))
    assert (table["total"].abs().diff().dropna() <= 0).all()
    assert len(model.global_leaders(texts, top=5)) == 5
    assert list(model.global_leaders([], top=5).columns) == ["word", "times", "total", "mean", "examples"]
