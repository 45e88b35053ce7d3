"""Image files as inputs of a model: opened by Pillow, and prepared by the settings in the folder of the model."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.data.model_config import read_config
from tokendyn.errors import BadInputError
from tokendyn.models.inputs import Inputs
from tokendyn.models.source import Encoded, Model, quiet
from tokendyn.optional import library
from tokendyn.runs.bounded import read_json_value
from tokendyn.runs.opened import note_opened

#: Says how images are resized and normalised.
PREPARATION = "preprocessor_config.json"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_AT_ONCE = 16
_MOST_BYTES = 2**20


def image_inputs(model: Model, given: Any) -> Inputs:
    """Return image files as inputs of a model.

    Parameters
    ----------
    model
        That takes images, opened from a folder with :data:`PREPARATION`.
    given
        A file, a folder of image files, or several of both.

    Raises
    ------
    BadInputError
        If there are no images, or the folder of the model has no settings to prepare them. Files that cannot be read
        are found when all inputs are checked.
    """
    files = image_files([given] if isinstance(given, str | Path) else given)
    prepare = _preparation(model)
    parts = [files[start : start + _AT_ONCE] for start in range(0, len(files), _AT_ONCE)]
    return Inputs(lambda: parts, lambda part: [_prepared(prepare, path) for path in part])


def are_files(given: Any) -> bool:
    """Return whether inputs of a model of images are named by their files."""
    entries = [given] if isinstance(given, str | Path) else given
    return not isinstance(entries, np.ndarray) and bool(entries) and all(isinstance(e, str | Path) for e in entries)


def image_files(given: Sequence[str | Path]) -> list[Path]:
    """Return image files; folders are replaced by the images in them, in the order of their names.

    Raises
    ------
    BadInputError
        If one is missing, or a folder holds no image.
    """
    files: list[Path] = []
    problems: list[str] = []
    for path in map(Path, given):
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            files += inside
            problems += [] if inside else [f"{path} holds no image ({', '.join(SUFFIXES)})"]
        elif path.is_file():
            files.append(path)
        else:
            problems.append(f"{path} is no file and no folder of images")
    if problems:
        raise BadInputError.all_of("images", problems)
    return files


def _preparation(model: Model) -> Any:
    """Return the preparation of images that the folder of a model states."""
    place = None if model.rules is None else model.rules.parent / PREPARATION
    if place is None or not place.is_file():
        raise BadInputError(
            f"{model.source} has no {PREPARATION}, which says how images are resized and normalised; write it with "
            "AutoImageProcessor.from_pretrained(folder).save_pretrained(folder), or give pixels (channels, height, "
            "width)"
        )
    note_opened(place)
    settings = read_json_value(place, _MOST_BYTES)
    if not isinstance(settings, dict):
        raise BadInputError(f"{place} is damaged: it holds no object")
    name = str(settings.get("image_processor_type") or settings.get("feature_extractor_type") or "")
    # Folders of older versions name the class that has been replaced.
    name = name.replace("FeatureExtractor", "ImageProcessor")
    transformers = library("transformers")
    with quiet():
        kind = getattr(transformers, f"{name.removesuffix('Fast')}Pil", None) or getattr(transformers, name, None)
        try:
            return kind.from_dict({**settings, "image_processor_type": name})  # type: ignore[union-attr]
        except (AttributeError, ImportError, TypeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BadInputError(f"{place} cannot be used by the transformers library ({name!r}: {reason})") from None


def _prepared(prepare: Any, path: Path) -> Encoded:
    """Return the pixels of an image file as the model takes them."""
    from PIL import Image, UnidentifiedImageError

    note_opened(path)
    try:
        with warnings.catch_warnings():
            # An image that is far larger than its file may fill the memory.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                picture = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise BadInputError(f"{path} is no image that can be read ({error})") from None
    except Image.DecompressionBombWarning as error:
        raise BadInputError(f"{path} is too large ({error}); make it smaller") from None
    pixels = np.asarray(prepare(picture, return_tensors="np")["pixel_values"][0], dtype=np.float32)
    return Encoded(ids=pixels, names=(), added=())


def has_images(folder: Path) -> bool:
    """Return whether the configuration of a model has a part for images beside one for texts, as CLIP has."""
    try:
        return "vision_config" in read_config(folder)
    except BadInputError:
        return False  # its faults are reported when the model is opened
