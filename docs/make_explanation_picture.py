"""Take the picture of the tutorial's page with Chromium: ``python docs/make_explanation_picture.py``."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from tokendyn.data.texts import small_reviews
from tokendyn.sentiment import LeaderClassifier

reviews = small_reviews()
model = LeaderClassifier(random_state=0).fit(reviews.texts, reviews.labels)
why = model.explain("I feared the worst, but this is a warm, brilliant film.")
target = Path(__file__).parent / "images" / "explanation.png"
with tempfile.TemporaryDirectory() as folder:
    page = Path(folder) / "why.html"
    page.write_text(why.to_html(), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1080,1000"]
    shot = [f"--user-data-dir={folder}/profile", f"--screenshot={target}", page.as_uri()]
    subprocess.run([shutil.which("chromium") or "chromium", *options, *shot], check=True, capture_output=True)
with Image.open(target) as image:
    image.convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(target, optimize=True)
