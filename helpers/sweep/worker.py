"""One run on a worker of a cluster: ``python -m helpers.sweep.worker order.json``.

The order names the notebook, where to put it, the profile and the values. The run leaves the
executed notebook and, beside it, ``facts.json``: what its record has to say about this machine.
"""

import json
import sys
from pathlib import Path

from ..press.errors import UserError
from ..press.notebook import components, read_notebook
from .store import hardware


def main(order: Path) -> int:
    """Run what is ordered; a run that fails is told on stderr, with exit status 2."""
    from ..press.execute import execute

    asked = json.loads(order.read_text())
    notebook, target = Path(asked["notebook"]), Path(asked["target"])
    try:
        execute(notebook, target, profile=asked["profile"], given=asked["values"], timeout=None)
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    facts = {"machine": hardware(), "parts": components(read_notebook(notebook))}
    target.with_name("facts.json").write_text(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
