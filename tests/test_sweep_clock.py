"""A sweep while the clock jumps, in a file of its own: it takes its time beside the others."""

import os
import subprocess
import sys
from pathlib import Path

from helpers.sweep.runs import Store, load

CLOCK = """
import itertools, os, time
now, jumps = time.time, itertools.cycle([0, 10**8, -(10**8), 10**7])
time.time = lambda: now() + (next(jumps) if os.path.exists({sign!r}) else 0)
"""
JUMPING = """import time
from helpers.report import record
open({sign!r}, "w").close()
first = time.time()
time.sleep(1)
record("tiny/square", n * n)
record("tiny/jump", abs(time.time() - first))
"""
CLOCK_DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from pdf_fixtures import source_notebook, write
from test_sweep_clock import JUMPING
from test_sweep_runs import Sweep
if __name__ == "__main__":
    sweep = Sweep(Path({folder!r}))
    write(source_notebook(JUMPING.format(sign={sign!r})), sweep.path)
    print([outcome.problem for outcome in sweep.run("n=2", timeout=300.0)])
"""


def test_a_clock_that_jumps_ends_no_run(tmp_path):
    """It jumps in every process of the sweep, the kernel's too, from the first cell on.

    While a kernel starts, jupyter_client waits by the clock: a jump there fails the run.
    """
    script, sign = tmp_path / "driver.py", str(tmp_path / "jump")
    (tmp_path / "sitecustomize.py").write_text(CLOCK.format(sign=sign))
    tests = str(Path(__file__).parent)
    script.write_text(CLOCK_DRIVER.format(tests=tests, folder=str(tmp_path), sign=sign))
    paths = [str(tmp_path), str(Path(__file__).parents[1])]
    settings = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([sys.executable, script], env=settings, capture_output=True, text=True)
    assert done.stdout == "['']\n", done.stdout + done.stderr
    store = Store("tiny", records=tmp_path / "records", work=tmp_path / "work")
    (record,) = load(store.records)
    assert record["values"]["tiny/square"] == 4
    assert record["values"]["tiny/jump"] > 10**6
