"""A Dask cluster that loses its only worker in the middle of a sweep."""

import subprocess
import sys

from test_sweep_runs import QUIET, Sweep, scheduler, squares  # noqa: F401 (a fixture)

from helpers.sweep import cluster, local


def test_the_loss_of_the_only_worker_costs_no_run(tmp_path, scheduler):  # noqa: F811
    address, _ = scheduler
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
    command += ["--no-dashboard", "--no-nanny", "--local-directory", str(tmp_path)]
    workers = [subprocess.Popen(command, **QUIET, cwd=tmp_path)]
    sweep, outcomes = Sweep(tmp_path, pause=1.0), []
    settings = local.Settings(notebook=sweep.path)
    try:
        for outcome in cluster.run_all(sweep.jobs("n=1:3"), sweep.store, settings, address):
            outcomes.append(outcome)
            if len(outcomes) == 1:
                local.kill(workers[0].pid)
                workers.append(subprocess.Popen(command, **QUIET, cwd=tmp_path))
    finally:
        for worker in workers:
            local.kill(worker.pid)
            worker.wait()
    assert [outcome.problem for outcome in outcomes] == [""] * 3
    assert squares(sweep.store) == [1, 4, 9]
