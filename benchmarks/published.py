"""PublishedHardmax beside a straightforward torch version of the same model: CPU seconds an epoch, and accuracy.

``OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 TOKENDYN_DATA=DATA python benchmarks/published.py``

Both train on the same texts (IMDb training file, seeded 80/20 split, 128 tokens, the estimator's own 10 %
validation part left out), vocabulary, batches and Adam, one thread. The torch version pads, masks and takes float32,
its default and its faster choice; ours is float64. A torch epoch is measured on the first batches after one for
warming up and scaled; the output gives their number. Neither time holds tokenising, validation or compiling.
"""

import argparse
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tokendyn.data.texts import imdb_reviews, small_reviews
from tokendyn.rivals.sentiment import PublishedHardmax
from tokendyn.runs.files import write_json
from tokendyn.sentiment.checks import check_labels
from tokendyn.sentiment.fitting import split
from tokendyn.sentiment.tokenise import Lexicon


class Straightforward(torch.nn.Module):
    """Embedding, K layers of padded and masked softmax attention, mean, linear decoder."""

    def __init__(self, words: int, dim: int, layers: int, alpha: float, temperature: float) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words, dim)
        self.decoder = torch.nn.Linear(dim, 1)
        self.layers, self.alpha, self.temperature = layers, alpha, temperature

    def forward(self, numbers: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the logits of a batch."""
        z = self.embedding(numbers)
        for _ in range(self.layers):
            scores = z @ z.transpose(1, 2) / self.temperature
            attention = torch.softmax(scores.masked_fill(~mask[:, None, :], -torch.inf), dim=-1)
            z = (z + self.alpha * (attention @ z)) / (1 + self.alpha)
        mean = (z * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return self.decoder(mean)[:, 0]


def pad(texts: list[str], rows: np.ndarray, at_most: int) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return numbers and mask of the chosen texts, and their number of words."""
    lexicon = Lexicon()
    lists = [list(lexicon.encode(texts[row]))[:at_most] for row in rows]
    numbers, mask = np.zeros((len(rows), at_most), dtype=np.int64), np.zeros((len(rows), at_most), dtype=bool)
    for row, numbered in enumerate(lists):
        numbers[row, : len(numbered)] = numbered
        mask[row, : len(numbered)] = True
    _, numbers[mask] = np.unique(numbers[mask], return_inverse=True)
    return torch.tensor(numbers), torch.tensor(mask), int(numbers.max()) + 1


def torch_epoch(
    model: PublishedHardmax, numbers: torch.Tensor, mask: torch.Tensor, truth: torch.Tensor, words: int, batches: int
) -> dict[str, Any]:
    """Measure some batches of the straightforward version and scale them to an epoch."""
    torch.manual_seed(0)
    network = Straightforward(words, model.dim, model.layers, model.alpha, model.temperature)
    adam = torch.optim.Adam(network.parameters(), lr=model.learning_rate)
    size, in_all = model.batch_size, -(-len(truth) // model.batch_size)
    measured = min(batches, in_all - 1)
    for batch in range(measured + 1):
        if batch == 1:
            began = time.process_time()
        part = slice(batch * size, (batch + 1) * size)
        adam.zero_grad()
        logits = network(numbers[part], mask[part])
        torch.nn.functional.binary_cross_entropy_with_logits(logits, truth[part]).backward()
        adam.step()
    seconds = time.process_time() - began
    return {
        "torch_epoch_cpu_seconds": seconds / measured * in_all,
        "torch_batches_measured": measured,
        "torch_batches_an_epoch": in_all,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder that holds imdb/reviews-train.csv.gz; default: TOKENDYN_DATA")
    parser.add_argument("--corpus", choices=("imdb", "small"), default="imdb")
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--epochs", type=int, default=PublishedHardmax().epochs)
    parser.add_argument("--learning-rate", type=float, default=PublishedHardmax().learning_rate)
    parser.add_argument("--batch-size", type=int, default=PublishedHardmax().batch_size)
    parser.add_argument("--torch-batches", type=int, default=16, help="batches of a torch epoch to measure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    corpus = imdb_reviews(arguments.data) if arguments.corpus == "imdb" else small_reviews()
    order = np.random.default_rng(arguments.seed).permutation(len(corpus))
    test, train = (corpus.take(part) for part in np.split(order, [len(corpus) // 5]))
    assert test.labels is not None
    assert train.labels is not None
    _, positive = check_labels(train.labels, len(train))
    compiled = small_reviews()
    PublishedHardmax(epochs=1).fit(compiled.texts, compiled.labels or ()).predict(compiled.texts)
    print(f"{corpus.source}: {len(train)} texts to learn from and validate, {len(test)} to test")
    print("  d  ours s/epoch  torch s/epoch (batches)  ratio  best epoch  test accuracy  leaders")
    rows = []
    for dim in arguments.dims:
        model = PublishedHardmax(
            dim=dim, epochs=arguments.epochs, learning_rate=arguments.learning_rate,
            batch_size=arguments.batch_size, random_state=arguments.seed,
        )  # fmt: skip
        training, _ = split(positive, model.validation_fraction, np.random.default_rng(arguments.seed))
        numbers, mask, words = pad(list(train.texts), training, model.max_tokens)
        truth = torch.tensor(positive[training], dtype=torch.float32)
        row: dict[str, Any] = {"dim": dim, "words": words, "training_texts": len(training)}
        row |= torch_epoch(model, numbers, mask, truth, words, arguments.torch_batches)
        model.fit(train.texts, train.labels)
        record = model.training_["epochs"]
        row["epoch_cpu_seconds"] = [entry["cpu_seconds"] for entry in record]
        row["ratio"] = row["torch_epoch_cpu_seconds"] / float(np.mean(row["epoch_cpu_seconds"]))
        row |= {"record": record, "best_epoch": model.training_["best"]["epoch"]}
        row["test_accuracy"] = float(np.mean(model.predict(test.texts) == np.array(test.labels)))
        row["leaders"] = float(np.mean(model.leader_counts(test.texts)))
        rows.append(row)
        print(
            f"{dim:3d}  {np.mean(row['epoch_cpu_seconds']):12.2f}  {row['torch_epoch_cpu_seconds']:13.1f} "
            f"({row['torch_batches_measured']:3d}/{row['torch_batches_an_epoch']:3d})  {row['ratio']:5.1f}  "
            f"{row['best_epoch']:10d}  {100 * row['test_accuracy']:13.2f}  {row['leaders']:7.2f}",
            flush=True,
        )
        if arguments.out is not None:
            settings = {key: str(value) for key, value in vars(arguments).items()}
            versions = {"torch": torch.__version__, "numpy": np.__version__, "machine": platform.machine()}
            write_json(arguments.out, {"settings": settings, "versions": versions, "rows": rows})


if __name__ == "__main__":
    main()
