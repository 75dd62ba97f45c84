"""``python -m bench [topic …]``: measure the topics named (``all`` for all), print the table."""

import importlib
import sys

from helpers.pdf.readme import bench

TOPICS = ("startup", "rnn2d", "attention", "sweep", "vit", "sentiment", "pdf")

if __name__ == "__main__":
    wanted = TOPICS if sys.argv[1:] == ["all"] else sys.argv[1:]
    unknown = [topic for topic in wanted if topic not in TOPICS]
    if unknown:
        sys.exit(f"bench: there is no {unknown[0]!r}; there are {', '.join(TOPICS)}")
    for name in wanted:
        importlib.import_module(f"bench.{name}").main()
    print(bench())
