"""A notebook's proofs: its cells run once, then each proof is broken on purpose.

A proof that holds whatever is changed proves nothing. So each claim gets a change, in the
notebook or in the helpers it calls, after which it must no longer hold.
"""

import json
import re
import types
from pathlib import Path
from unittest.mock import patch

from helpers import report

ROOT = Path(__file__).parents[1]


def verified(answer: str) -> set[str]:
    """The claims that an answer names."""
    path = ROOT / "solutions_latex" / "answers" / f"{answer}.tex"
    marks = re.findall(r"\\verified\{([^{}]*)\}", path.read_text(encoding="utf-8"))
    return {name.strip() for names in marks for name in names.split(",")}


class Proofs:
    """The code cells of a notebook, run one after the other, and the state before each.

    ``module`` holds the helpers that may be changed. Cells that draw and those that hold one
    of ``without`` are left out; the one that holds ``until`` and those after it are not run.
    """

    def __init__(
        self, name: str, module: types.ModuleType, *, without: tuple = (), until: str = ""
    ):
        self.path, self.module = ROOT / "notebooks" / f"{name}.ipynb", module
        self.cells, self.sections, section = [], [], 0
        for cell in json.loads(self.path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                section += "\n## " in f"\n{source}"
            elif not any(part in source for part in without):
                self.cells.append(source)
                self.sections.append(section)
        self.stop = len(self.cells)
        if until:
            (self.stop,) = (i for i, cell in enumerate(self.cells) if until in cell)
        self.before, self.state, self.records = [], {}, {}
        self.claims, self.place = {}, {}  # of each claim: whether it holds, and in which cell
        for number, cell in enumerate(self.cells[: self.stop]):
            self.before.append(dict(self.state))
            claims = self.run(cell, self.state)
            self.claims |= claims
            self.place |= dict.fromkeys(claims, number)

    def run(self, cell: str, state: dict) -> dict[str, bool]:
        """Run one cell in the state; return what it claims."""
        claims = {}
        told = {
            "claim": lambda name, holds, evidence: claims.update({name: bool(holds)}),
            "record": lambda name, value, text=None: self.records.update({name: value}),
            "stamp": lambda **facts: None,
        }
        state |= told
        with patch.multiple(report, **told):
            exec(compile(cell, str(self.path), "exec"), state)
        return claims

    def holds(self, name: str, old: str, new: str) -> bool:
        """Whether the claim holds once ``old`` is changed to ``new``, in the one place it has."""
        last = self.place[name]
        where = [i for i, cell in enumerate(self.cells) if old in cell]
        if where:
            (first,) = where
            assert self.cells[first].count(old) == 1
            state = dict(self.before[first])
        else:
            first = self.sections.index(self.sections[last])
            state = self._changed(self.before[first], old, new)
        claims = {}
        for cell in self.cells[first : last + 1]:
            claims |= self.run(cell.replace(old, new), state)
        return claims[name]

    def _changed(self, state: dict, old: str, new: str) -> dict:
        """The state with a changed module in place of the module, and of what it defines."""
        source = Path(self.module.__file__).read_text(encoding="utf-8")
        assert source.count(old) == 1, f"{old!r} is {source.count(old)} times in the module"
        mutant = types.ModuleType("mutant")
        mutant.__package__ = self.module.__package__  # for what it imports
        exec(source.replace(old, new), mutant.__dict__)
        state = {name: mutant if v is self.module else v for name, v in state.items()}
        own = {name: v for name, v in vars(self.module).items() if state.get(name) is v}
        state["show_source"] = lambda *definitions: None  # a mutant has no file to show
        return state | {name: vars(mutant)[name] for name in own}
