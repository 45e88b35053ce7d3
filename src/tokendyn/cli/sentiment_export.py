"""``tokendyn sentiment export``: the scoring path of a model as an ONNX file."""

from pathlib import Path

from tokendyn.cli.output import announce, write_json
from tokendyn.runs.files import check_free


def export(model: Path, /, *, out: Path, overwrite: bool = False, dry_run: bool = False, json: bool = False) -> int:
    """Write the scoring path of a model as an ONNX file, for onnxruntime in any language.

    Parameters
    ----------
    model
        Folder that train wrote.
    out
        ONNX file to write. It must not exist.
    overwrite
        Replace the file when it exists.
    dry_run
        Read the model, say what would be done, and stop.
    json
        Write the names of classes, inputs and outputs as one JSON object to standard output.
    """
    from tokendyn.sentiment import export_onnx, load

    check_free(out, overwrite=overwrite, inputs=[model])
    classifier = load(model)
    if dry_run:
        announce(f"would write {len(classifier.words_)} tokens as {out}")
        return 0
    export_onnx(classifier, out)
    if json:
        write_json(
            {
                "classes": classifier.classes_.tolist(),
                "tokens": len(classifier.words_),
                "inputs": ["words", "counts"],
                "outputs": ["probabilities", "logits"],
                "bytes": out.stat().st_size,
                "out": str(out),
            }
        )
    announce(f"wrote {out}, {out.stat().st_size / 1000:,.0f} kB; its metadata hold the tokens and how inputs are made")
    return 0
