"""Processor seconds and peak memory of an inspection of a model of 12 layers, 12 heads and 768 dimensions.

Run with: python benchmarks/trained_models.py [--tokens 512] [--texts 2]

Each part runs in a process of its own with one thread. The weights are random: times and memory do not depend on them.
Beside it stands what a cache of all activations of one run takes, the way in which tools with hooks keep them; it is
computed from shapes, and not measured.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

LAYERS, HEADS, DIM = 12, 12, 768
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def cached_bytes(tokens: int) -> int:
    """Return the bytes of a float32 cache: residuals, norms, Q, K, V, heads, scores, weights and feed-forward parts.

    Three residual streams, what both parts add, two normed inputs, Q, K, V and the heads are (tokens, dim); the
    feed-forward part before and behind its nonlinearity is four times as wide; scores and weights are (heads, tokens,
    tokens).
    """
    layer = 11 * tokens * DIM + 2 * tokens * 4 * DIM + 2 * HEADS * tokens * tokens
    return 4 * LAYERS * layer


def measure(part: str, tokens: int, texts: int) -> None:
    """Run one part in this process, and print seconds and bytes."""
    import numpy as np
    import torch
    from transformers import BertConfig, BertModel

    import tokendyn as td

    torch.manual_seed(0)
    module = BertModel(BertConfig(attn_implementation="eager")).eval()
    inputs = list(np.random.default_rng(0).integers(1000, 30_000, size=(texts, tokens)))
    began, size = time.process_time(), _peak()
    if part == "forward":
        with torch.inference_mode():
            for ids in inputs:
                module(torch.as_tensor(ids)[None], output_hidden_states=True, output_attentions=True)
    elif part == "heads":
        td.models.head_table(td.models.Model(module))
    else:
        settings = {"inspect": {}, "bare": {"ladder": False, "ablate": "none", "null": "none"}}[part]
        td.inspect(module, inputs, **settings)
    seconds = time.process_time() - began
    print(json.dumps({"seconds": seconds, "model": size, "peak": _peak()}))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Measure every part and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--texts", type=int, default=2)
    parser.add_argument("--part", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        measure(given.part, given.tokens, given.texts)
        return
    print(
        f"{LAYERS} layers x {HEADS} heads x {DIM} dimensions, {given.texts} texts of {given.tokens} tokens, one thread"
    )
    what = {
        "forward": "forward passes of the library, with states and attentions",
        "bare": "inspection without ablations, random weights and ladder",
        "inspect": "inspection as it is by default",
        "heads": "all heads from the weights alone",
    }
    for part, text in what.items():
        words = [sys.executable, __file__, "--part", part, "--tokens", str(given.tokens), "--texts", str(given.texts)]
        environment = {**os.environ, **dict.fromkeys(_THREADS, "1")}
        result = json.loads(subprocess.run(words, check=True, capture_output=True, text=True, env=environment).stdout)
        peak, model = result["peak"] / 1e9, result["model"] / 1e9
        print(f"{text}: {result['seconds']:.1f} s, peak {peak:.2f} GB (libraries and model {model:.2f})", flush=True)
    cache = cached_bytes(given.tokens) / 1e9
    print(f"cache of all activations, by shapes: {cache:.2f} GB for one run, {cache * given.texts:.2f} GB for all")


if __name__ == "__main__":
    main()
