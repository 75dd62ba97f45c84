"""Write what our tokenizer and labels make of real text, for torchtext to compare.

Runs in the main environment, which never imports torchtext: ``python ours.py FOLDER``.
"""

import json
import sys
from pathlib import Path

from helpers.data import imdb
from helpers.text_encoder import load_encoder, minilm_folder

EDGES = [
    "",
    " \t\n",
    "Café naïve ÅNGSTRÖM",
    "don't won't it's",
    "10/10!!! <br /><br />A++",
    "unbelievableness antidisestablishmentarianism",
    "😀 中文 кино β",
    "\u200bzero\u00adwidth",
]


def main(folder: Path) -> None:
    reviews = imdb("test")
    texts = [*reviews.texts[:200], *reviews.texts[-200:]]
    tokenizer = load_encoder().tokenizer
    ours = {
        "vocabulary_file": str(minilm_folder() / "vocab.txt"),
        "texts": EDGES + texts,
        "tokens": [tokenizer.tokenize(text) for text in EDGES + texts],
        "labels": [*reviews.labels[:200].tolist(), *reviews.labels[-200:].tolist()],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ours.json").write_text(json.dumps(ours), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
