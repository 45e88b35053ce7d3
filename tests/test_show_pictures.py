"""Panels, strip and animation: what must hold in every picture."""

import io
import warnings

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from tokendyn.errors import BadInputError, OutputError
from tokendyn.particles.clustering import simulate
from tokendyn.show.animation import animate, frame_times
from tokendyn.show.palette import LEADER_COLOURS, MOST_DISTINCT, leader_styles, shaded
from tokendyn.show.panels import panels
from tokendyn.show.scene import TokenScene
from tokendyn.show.strip import following_strip
from tokendyn.show.views import LARGEST_STAR, SMALLEST_STAR, View

EMERGING = [(1, 4 / 12), (-1 / 12, 1 / 12), (-1, -1), (0, 3 / 12), (-0.3, -0.7), (-0.6, -0.9), (0.8, 0.1), (0.6, 0.15)]
SQUARE = [(1, 1), (-1, 1), (-1, -1), (1, -1), (-0.5, 0), (0.5, 0), (0.4, 0.3), (-0.2, -0.3)]


def emerging_scene(**options):
    return simulate(np.array(EMERGING), **options).scene("Emerging leader")


def random_scene(tokens, dim, seed=0, layers=8):
    points = np.random.default_rng(seed).normal(size=(tokens, dim))
    return simulate(points, layers=layers).scene(f"{tokens} tokens")


def drawn(figure):
    """Draw as a file would be, with warnings as errors."""
    figure.savefig(buffer := io.BytesIO(), format="png", dpi=40)
    return Image.open(buffer)


def panel_axes(figure):
    return [axes for axes in figure.axes if any(child.get_gid() in ("stars", "tokens") for child in axes.collections)]


def marks(axes, gid):
    """Return place, colour and area of every mark of a kind."""
    found = []
    for child in axes.collections:
        if child.get_gid() == gid:
            colours = [to_hex(colour) for colour in child.get_facecolors()]
            offsets = np.asarray(child.get_offsets())
            colours = colours * len(offsets) if len(colours) == 1 else colours
            sizes = np.broadcast_to(child.get_sizes(), len(offsets))
            found += [(tuple(np.round(xy, 9)), c, s) for xy, c, s in zip(offsets, colours, sizes, strict=True)]
    return found


def test_stars_appear_only_from_the_layer_at_which_a_token_leads():
    scene = emerging_scene()
    assert 0 < (scene.leader_layers > 0).sum() < len(scene.leaders)
    axes = panel_axes(panels(scene, layers=range(4)))
    for layer, panel in enumerate(axes):
        stars = {place for place, *_ in marks(panel, "stars")}
        lead = scene.leaders[scene.leader_layers <= layer]
        assert stars == {tuple(np.round(scene.states[layer, token], 9)) for token in lead}


def test_a_leader_has_the_same_colour_in_every_panel_and_in_the_strip():
    scene = emerging_scene()
    styles = leader_styles(scene.leader_masses)
    expected = {
        tuple(np.round(scene.states[-1, token], 9)): style.colour.lower()
        for token, style in zip(scene.leaders, styles, strict=True)
    }
    for panel in panel_axes(panels(scene)):
        assert all(expected[place] == colour for place, colour, _ in marks(panel, "stars"))
    blocks = [
        child for axes in following_strip(scene).axes for child in axes.collections if child.get_gid() == "blocks"
    ]
    assert {to_hex(colour) for colour in blocks[-1].get_facecolors()} == set(expected.values())


def test_a_token_has_the_colour_of_the_leader_it_follows():
    scene = emerging_scene()
    view = View(scene)
    panel = panel_axes(panels(scene, layers=[2]))[0]
    shown = {place: colour for place, colour, _ in marks(panel, "tokens")}
    for token in np.setdiff1d(np.arange(8), scene.leaders):
        place = list(scene.leaders).index(scene.followed[2, token])
        assert shown[tuple(np.round(scene.states[2, token], 9))] == view.styles[place].colour.lower()


def test_the_area_of_a_star_is_proportional_to_the_mass_of_its_cluster():
    scene = emerging_scene()
    areas = View(scene).star_areas
    assert areas.min() > SMALLEST_STAR
    assert areas.max() <= LARGEST_STAR
    np.testing.assert_allclose(areas / areas[0], scene.leader_masses / scene.leader_masses[0])
    drawn_areas = sorted(area for _, _, area in marks(panel_axes(panels(scene, layers=[30]))[0], "stars"))
    np.testing.assert_allclose(drawn_areas, np.sort(areas))


def test_a_token_that_follows_two_leaders_at_once_is_hollow_and_grey():
    scene = simulate(np.array(SQUARE, dtype=float)).scene()
    view = View(scene)
    assert (view.followed_leaders[:, 4:6] == -1).all()
    panel = panel_axes(panels(scene, layers=[1]))[0]
    hollow = {place for place, *_ in marks(panel, "tokens-without-leader")}
    assert hollow == {tuple(np.round(scene.states[1, token], 9)) for token in (4, 5)}


def test_a_follower_that_has_reached_its_leader_keeps_its_colour():
    scene = random_scene(40, 2, layers=60)
    assert (View(scene).followed_leaders[-1] == scene.leader_of).all()


def test_all_panels_share_their_limits_and_show_their_layer():
    figure = panels(emerging_scene())
    axes = panel_axes(figure)
    assert len({(panel.get_xlim(), panel.get_ylim()) for panel in axes}) == 1
    words = [text.get_text() for text in figure.texts]
    assert [word for word in words if word.startswith("layer")] == [
        "layer 0", "layer 1", "layer 2", "layer 5", "layer 30, the last",
    ]  # fmt: skip


def test_both_axes_of_the_plane_have_one_scale():
    figure = panels(emerging_scene())
    for panel in panel_axes(figure):
        box = panel.get_position()
        inches = np.array([box.width, box.height]) * figure.get_size_inches()
        scales = inches / [np.ptp(panel.get_xlim()), np.ptp(panel.get_ylim())]
        assert scales[0] == pytest.approx(scales[1])


def test_the_legend_covers_no_panel():
    figure = panels(random_scene(30, 2))
    figure.canvas.draw()
    boxes = [axes.get_window_extent() for axes in panel_axes(figure)]
    legends = [child for axes in figure.axes for child in axes.get_children() if type(child).__name__ == "Legend"]
    assert legends
    for legend in legends:
        assert not any(box.overlaps(legend.get_window_extent()) for box in boxes)
        assert figure.bbox.containsx(legend.get_window_extent().x1)
        assert legend.get_window_extent().y0 >= 0


def test_a_projection_is_named_with_its_share_of_the_variance():
    figure = panels(random_scene(20, 5))
    notes = [text.get_text() for axes in figure.axes for text in axes.texts if text.get_gid() == "note"]
    assert "5 dimensions" in notes[0]
    assert "%" in notes[0]


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
@pytest.mark.parametrize("tokens", [1, 7])
def test_scenes_of_every_size_and_dimension_are_drawn(tokens, dim):
    scene = random_scene(tokens, dim, layers=4)
    assert drawn(panels(scene)).width == 400
    assert drawn(following_strip(scene)).width == 400


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_any_number_of_panels_is_laid_out_inside_the_figure(count):
    figure = panels(emerging_scene(), layers=range(count))
    axes = panel_axes(figure)
    assert len(axes) == count
    for panel in axes:
        box = panel.get_position()
        assert 0 <= box.x0 < box.x1 <= 1
        assert 0 <= box.y0 < box.y1 <= 1


def test_degenerate_places_are_drawn():
    same = simulate(np.ones((4, 2)), layers=2).scene()
    line = simulate(np.linspace(-1, 1, 6)[:, None] * np.array([[1.0, 0.0, 0.0]]), layers=2).scene()
    long = simulate(np.random.default_rng(0).normal(size=(9, 2)) * [1000, 1], layers=2).scene()
    for scene in (same, line, long):
        drawn(panels(scene))


def test_many_tokens_are_drawn_with_a_stated_sample_of_trails():
    figure = panels(random_scene(3000, 2, layers=2))
    notes = [text.get_text() for axes in figure.axes for text in axes.texts if text.get_gid() == "note"]
    assert "Trails of 400 of the 3,000 tokens" in notes[0]
    drawn(figure)


def test_strange_labels_are_drawn_as_they_are_without_warnings():
    labels = ["$x$", "a_b^c", "<b>", "", "日本", "\x1b[31m", "much too long a label for any picture", "e\u0301"]
    scene = simulate(np.array(EMERGING), labels=labels).scene("100 $ or $ 5 \\frac")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn(panels(scene))
        drawn(following_strip(scene))
    texts = [child.get_text() for panel in panel_axes(panels(scene)) for child in panel.texts]
    assert "$x$" in texts


def test_labels_do_not_cover_each_other():
    figure = panels(random_scene(12, 2), layers=[0])
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in panel_axes(figure)[0].texts if text.get_gid() == "label"]
    assert len(boxes) > 3
    # Half a pixel of antialiasing is no overlap.
    boxes = [box.padded(-1.5) for box in boxes]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


@pytest.mark.parametrize("layers", [[], [-1], [31], [0, 99]])
def test_layers_that_do_not_exist_are_refused(layers):
    with pytest.raises(BadInputError, match="from 0 to 30"):
        panels(emerging_scene(), layers=layers)


def test_positions_too_large_to_draw_are_refused():
    huge = TokenScene(
        states=np.full((2, 1, 2), 1e200),
        followed=np.zeros((1, 1), dtype=np.int64),
        labels=("a",),
        weights=np.ones(1),
        leaders=np.array([0]),
        leader_layers=np.array([0]),
        leader_of=np.array([0]),
    )
    with pytest.raises(BadInputError, match="cannot be drawn"):
        panels(huge)


def test_every_token_keeps_its_height_in_the_strip():
    scene = random_scene(200, 4)
    strip = following_strip(scene)
    heights = []
    for axes in strip.axes:
        for child in axes.collections:
            if child.get_gid() == "blocks":
                heights.append(sum(np.ptp(path.vertices[:, 1]) for path in child.get_paths()))
    np.testing.assert_allclose(heights, scene.weights.sum())


# --- palette ----------------------------------------------------------------------------------------


#: Machado, Oliveira and Fernandes (2009), full severity, on linear RGB.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def as_lab(linear):
    xyz = linear @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    f = np.cbrt(np.maximum(xyz / [0.9505, 1.0, 1.089], 0.008856))
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("kind", ["none", *BLINDNESS])
def test_the_first_colours_differ_for_colour_blind_eyes_too(kind):
    rgb = np.array([to_rgb(colour) for colour in LEADER_COLOURS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(BLINDNESS.get(kind, np.eye(3))).T, 0, 1)
    lab = as_lab(seen)
    gaps = np.linalg.norm(lab[:, None] - lab[None], axis=2)[np.triu_indices(len(lab), 1)]
    assert gaps.min() > 16


def test_each_of_the_first_leaders_looks_different():
    styles = leader_styles(np.ones(MOST_DISTINCT))
    assert len({(style.colour, style.marker) for style in styles}) == MOST_DISTINCT
    assert all(style.own for style in styles)


def test_of_very_many_leaders_the_heaviest_have_their_own_colours():
    masses = np.arange(1.0, 101.0)
    styles = leader_styles(masses)
    assert [style.own for style in styles] == [False] * (100 - MOST_DISTINCT) + [True] * MOST_DISTINCT


def test_a_neutral_leader_is_grey_and_takes_no_colour():
    with_neutral, without = leader_styles(np.ones(4), neutral=1), leader_styles(np.ones(3))
    assert [with_neutral[place] for place in (0, 2, 3)] == list(without)
    assert with_neutral[1].colour not in {style.colour for style in without}
    assert shaded("#000000", 1.0) == "#FFFFFF"


# --- animation --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_an_animation_is_a_whole_gif_of_moving_frames(tmp_path, dim):
    path = tmp_path / "motion.gif"
    animate(random_scene(9, dim), path, seconds=1, fps=5)
    with Image.open(path) as film:
        frames = film.n_frames
        assert 4 <= frames <= 5
        film.seek(0)
        first = np.asarray(film.convert("RGB")).astype(int)
        film.seek(frames - 1)
        last = np.asarray(film.convert("RGB")).astype(int)
        assert film.info["loop"] == 0
    assert np.abs(first - last).max() > 100
    assert (first[2, 2] == 255).all()
    assert path.read_bytes()[-1:] == b";"
    assert [entry.name for entry in tmp_path.iterdir()] == ["motion.gif"]


def test_leaders_keep_their_colours_in_the_gif(tmp_path):
    scene = random_scene(30, 2, seed=3)
    animate(scene, tmp_path / "motion.gif", seconds=0.5, fps=4)
    with Image.open(tmp_path / "motion.gif") as film:
        seen = {tuple(colour) for colour in np.asarray(film.convert("RGB")).reshape(-1, 3).tolist()}
    for style in View(scene).styles:
        assert any(np.abs(np.array(colour) - np.array(to_rgb(style.colour)) * 255).max() < 4 for colour in seen)


def test_the_film_does_not_dwell_on_layers_where_nothing_moves():
    view = View(random_scene(20, 2, layers=200))
    times = frame_times(view, 100)
    assert times[0] == 0
    assert times[-1] == pytest.approx(200)
    assert (np.diff(times) > 0).all()
    assert (times > view.still_from).sum() < 10


def test_a_film_that_fails_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OutputError, match="No space left"):
        animate(emerging_scene(), tmp_path / "motion.gif", seconds=0.2, fps=5)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_film_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        animate(emerging_scene(), tmp_path / "motion.gif", seconds=0.2, fps=5)
    assert not list(tmp_path.iterdir())


def test_bad_films_are_refused_with_all_their_problems(tmp_path):
    with pytest.raises(BadInputError) as caught:
        animate(emerging_scene(), tmp_path / "motion.avi", seconds=-1)
    assert ".gif or .mp4" in str(caught.value)
    assert "seconds must be positive" in str(caught.value)


def test_without_ffmpeg_a_video_is_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(BadInputError, match=r"install it, or write a \.gif"):
        animate(emerging_scene(), tmp_path / "motion.mp4")
