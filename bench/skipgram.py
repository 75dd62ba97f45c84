"""Word vectors from helpers.word2vec and from gensim's Word2Vec, trained in turn on one text.

Each run is printed and added, with its provenance, to data/results/skipgram_word2vec.json. Both
train on two threads with the same settings, each at three learning rates: 0.025, gensim's
default, 0.05, ours, and 0.1. The corpus and the tests come from helpers.datasets, full profile.
gensim is in the optional dependencies ``peers``.
"""

import json
import os
import platform
import time
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from statistics import mean

import numpy as np
import torch
from torch import Tensor

from helpers.datasets import Corpus, analogies, corpus, word_similarity
from helpers.downloads import ROOT
from helpers.pdf.notebook import write_atomically
from helpers.report import commit, versions
from helpers.word2vec import SkipGram, WordVectors, code_digest

from . import paired

RESULTS = ROOT / "data/results/skipgram_word2vec.json"
SETTINGS = {"size": 100, "window": 5, "negatives": 5, "subsample": 1e-3}
RUNS = [
    ("helpers.word2vec", 0.05),
    ("gensim", 0.025),
    ("helpers.word2vec", 0.1),
    ("gensim", 0.05),
    ("helpers.word2vec", 0.025),
    ("gensim", 0.1),
]
SIZES = (1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000)  # characters


class Clock:
    """Wall-clock seconds and processor seconds of what runs inside ``with``."""

    def __enter__(self) -> "Clock":
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *exception) -> None:
        now = time.perf_counter(), time.process_time()
        self.seconds, self.cpu_seconds = (b - a for a, b in zip(self._start, now, strict=True))


def ours(words: Sequence[str], counts, ids: np.ndarray, rate: float, *, epochs, threads, seed):
    """Centre vectors (d, 100) by helpers.word2vec, and the time that training took."""
    model = SkipGram(counts=counts, seed=seed, **SETTINGS)
    with Clock() as clock:
        model.train(ids, epochs=epochs, rate=rate, threads=threads)
    return model.centre, clock


def gensims(words: Sequence[str], counts, ids: np.ndarray, rate: float, *, epochs, threads, seed):
    """The same by gensim (Řehůřek and Sojka 2010), in the order of ``words``."""
    from gensim.models import Word2Vec

    parts = (ids[start : start + 10_000] for start in range(0, len(ids), 10_000))
    sentences = [[words[i] for i in part] for part in parts]
    model = Word2Vec(
        sg=1,
        vector_size=SETTINGS["size"],
        window=SETTINGS["window"],
        negative=SETTINGS["negatives"],
        sample=SETTINGS["subsample"],
        min_count=1,
        workers=threads,
        alpha=rate,
        seed=seed + 1,
    )
    model.build_vocab(sentences)
    with Clock() as clock:
        model.train(sentences, total_examples=len(sentences), epochs=epochs)
    return torch.from_numpy(model.wv[words]), clock


def evaluate(words: Sequence[str], vectors: Tensor) -> dict[str, float]:
    """ρ on WordSim-353 and SimLex-999, and the share of Google's analogies solved."""
    vectors = WordVectors(words, vectors)
    answers = vectors.answers(analogies(profile="full"))
    pairs = {name: word_similarity(name, profile="full") for name in ("wordsim353", "simlex999")}
    scores = {name: vectors.rank_correlation(frame)[0] for name, frame in pairs.items()}
    return scores | {"analogies": float((answers["answer"] == answers["d"]).mean())}


def provenance() -> dict[str, str]:
    """Where, when and with what this was run."""
    return versions() | {
        "gensim": version("gensim"),
        "device": f"{os.cpu_count()} cores, {platform.machine()}",
        "commit": commit(),
        "code": code_digest(),
        "date": str(date.today()),
    }


def main(size: int = 20_000_000, epochs: int = 5, rounds: int = 2, threads: int = 2) -> None:
    """Train in turn on the first ``size`` bytes of the corpus; print and record."""
    text = corpus(profile="full", limit=size)
    growth = paired.grows("characters", SIZES, [_seconds(text.text[:n]) for n in SIZES])
    length = text.text.count(" ") + 1
    words, counts, ids = text.encode(min_count=5)
    for seed in range(rounds):
        how = {"epochs": epochs, "threads": threads, "seed": seed}
        for name, rate in RUNS:
            train = gensims if name == "gensim" else ours
            vectors, clock = train(words, counts, ids, rate, **how)
            run = {"trainer": name, "rate": rate, "corpus": text.source.split(",")[0]}
            run |= {"characters": len(text.text), "words": length}
            run |= SETTINGS | how | evaluate(words, vectors)
            run |= {"seconds": clock.seconds, "cpu_seconds": clock.cpu_seconds}
            run["words_per_second"] = round(length * epochs / clock.seconds)
            run = {k: round(v, 4) if isinstance(v, float) else v for k, v in run.items()}
            print(json.dumps(run), flush=True)
            add(run | provenance())
    compare(growth)


def _seconds(text: str) -> float:
    """How long one pass over a text takes us, on one thread."""
    words, counts, ids = Corpus(text, "").encode(min_count=5)
    return ours(words, counts, ids, RUNS[0][1], epochs=1, threads=1, seed=0)[1].seconds


def compare(growth: str) -> None:
    """Ours at its rate against gensim at its default, by seed, over recorded runs of this code.

    A seed that one of the two has not run, as when a benchmark was stopped, is left out.
    """
    runs = [run for run in json.loads(RESULTS.read_text()) if run["code"] == code_digest()]
    by_seed = {
        name: {run["seed"]: run for run in runs if (run["trainer"], run["rate"]) == (name, rate)}
        for name, rate in RUNS[:2]
    }
    seeds = sorted(set.intersection(*map(set, by_seed.values())))
    rates = {name: [run[seed] for seed in seeds] for name, run in by_seed.items()}
    found = {  # by processor time, as a machine with two cores to itself would take
        name: [2 * run["words"] * run["epochs"] / run["cpu_seconds"] for run in chosen]
        for name, chosen in rates.items()
    }
    rho = {name: mean(run["wordsim353"] for run in chosen) for name, chosen in rates.items()}
    what = "skip-gram, d = 100, WordSim ρ {:.3f} against {:.3f}".format(*rho.values())
    rows = [paired.row(what, found, *found, unit="words/s", growth=growth,
                       goal="≥ 1 × at equal ρ")]  # fmt: skip
    paired.save("skipgram", rows)


def add(run: dict) -> None:
    """Append one run to the recorded results."""
    runs = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in [*runs, run])
    write_atomically(RESULTS, f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
