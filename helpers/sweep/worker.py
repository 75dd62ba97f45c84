"""One run on a worker of a cluster: ``python -m helpers.sweep.worker order.json``.

The order names the notebook, where to put it, the profile, the values and the process that gave
it: the run ends with that. It leaves the executed notebook and, beside it, ``facts.json``: what its
record has to say about this machine.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

from ..pdf.errors import UserError
from .local import kill
from .runs import hardware


def main(order: Path) -> int:
    """Run what is ordered; a run that fails is told on stderr, with exit status 2."""
    asked = json.loads(order.read_text())
    threading.Thread(target=_end_with, args=(asked["parent"],), daemon=True).start()
    from ..pdf.execute import execute

    notebook, target = Path(asked["notebook"]), Path(asked["target"])
    try:
        execute(notebook, target, profile=asked["profile"], given=asked["values"], timeout=None)
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    facts = {"machine": hardware()}
    target.with_name("facts.json").write_text(json.dumps(facts))
    return 0


def _end_with(parent: int) -> None:
    """A worker of the cluster that is lost takes its run along: another one is given it."""
    while os.getppid() == parent:  # the system's own sign of it differs, and is for a thread
        time.sleep(1)
    kill(os.getpid())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
