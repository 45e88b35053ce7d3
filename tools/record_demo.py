"""Record what ``tokendyn demo`` shows at once, ``data/first_chapter.*``: ``python tools/record_demo.py``."""

import json
from pathlib import Path

from tokendyn import data
from tokendyn.data.configurations import DESCRIPTIONS, configuration
from tokendyn.particles import simulate
from tokendyn.particles.report import run_pictures
from tokendyn.show.images import both_shapes
from tokendyn.show.report import sentence

FOLDER = Path(data.__file__).parent


def record() -> dict[str, object]:
    """Return the words of the chapter, and write its picture in both shapes."""
    name = next(iter(DESCRIPTIONS))
    run = simulate(configuration(name, 0), alpha=0.5, layers=30)
    picture = run_pictures(run, title=DESCRIPTIONS[name], pictures=FOLDER)[0]
    for ending, svg in zip(("", "-narrow"), both_shapes(picture.picture, picture.narrow), strict=True):
        (FOLDER / f"first_chapter{ending}.svg").write_bytes(svg)
    words = {"title": DESCRIPTIONS[name], "sentences": [sentence(line) for line in run.describe()]}
    return words | {"alt": picture.alt, "caption": picture.caption}


if __name__ == "__main__":
    text = json.dumps(record(), indent=1, ensure_ascii=False)
    (FOLDER / "first_chapter.json").write_text(text + "\n", encoding="utf-8")
