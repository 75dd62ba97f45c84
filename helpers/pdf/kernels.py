"""Kernels, forked from a process that has imported what notebooks import, which takes seconds."""

import asyncio
import multiprocessing
import os
import signal
import sys
from multiprocessing import forkserver
from multiprocessing.context import ForkProcess, ForkServerContext

from jupyter_client.manager import AsyncKernelManager
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine

from .notebook import code_cells

IMPORTS = ["helpers.pdf.execute", "helpers.pdf.render", "papermill.parameterize",
           "papermill.engines", "ipykernel.kernelapp", "ipykernel.zmqshell",
           "helpers.report"]  # fmt: skip
TORCH = ["torch", "torch._dynamo", "torchvision.datasets"]

MAX_OUTPUT = 20_000_000  # characters that a notebook may print


class Client(PapermillNotebookClient):
    """Papermill's, except that it ends a kernel that prints without end."""

    printed, refusal = 0, ""

    def process_message(self, msg, *where):
        self.printed += len(str(msg["content"].get("text", "")))
        if self.printed <= MAX_OUTPUT:
            return super().process_message(msg, *where)
        self.refusal = f"it printed more than {MAX_OUTPUT / 1e6:g} MB: print less of it"
        if self.km.provisioner and self.km.provisioner.process:
            self.km.provisioner.process.kill()


class Engine(NBClientEngine):
    """Papermill's, with the client above, and an environment for the kernel."""

    client: Client  # of the latest run

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, *, environment, **options):
        options.pop("log_output")
        cls.client = Client(nb_man, kernel_name=kernel_name, **options)
        cls.client.execute(env=environment)


def share_imports(torch: bool) -> ForkServerContext:
    """Processes of this context are forked from one that has imported all that, and no more."""
    os.environ["PYTHONHASHSEED"] = "0"  # a kernel can't have another
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # likewise
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTS, *TORCH * torch, "helpers.pdf.freeze"])
    heeded = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is for us alone
    forkserver.ensure_running()
    signal.signal(signal.SIGINT, heeded)
    return context


def manager(notebook: NotebookNode, fork: bool) -> type[AsyncKernelManager]:
    """Who starts the kernel of ``notebook``.

    Who imports ``helpers.report`` would import what is shared anyway. Any other notebook may want
    to install, or not to have, some of it: that gets an interpreter of its own.
    """
    ours = any("helpers.report" in cell.source for cell in code_cells(notebook))
    return ForkingManager if fork and ours else AsyncKernelManager


class Forked(ForkProcess):
    """A kernel of this process's own flesh, with what jupyter_client asks of a ``Popen``."""

    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        """The exit status, if it has ended."""
        return self.exitcode

    def wait(self) -> int | None:
        """The exit status, once it has ended."""
        self.join()
        return self.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


class ForkingManager(AsyncKernelManager):
    """Jupyter's own, except that a kernel is forked where it would start a new interpreter."""

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options) -> None:
        forked = Forked(target=_kernel, args=(kernel_cmd, options["cwd"], options["env"]))
        forked.start()
        self.provisioner.process = forked
        self.provisioner.pid = self.provisioner.pgid = forked.pid
        self._reconcile_connection_info(self.provisioner.connection_info)


def _kernel(command: list[str], folder: str, environment: dict[str, str]) -> None:
    """Be the kernel that ``command`` would start."""
    from ipykernel.kernelapp import IPKernelApp

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setsid()  # so that an interrupt reaches what it has started, too, and nobody else
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["ipykernel_launcher", *command[command.index("-f") :]]
    asyncio.set_event_loop(asyncio.new_event_loop())
    IPKernelApp.launch_instance(parent_handle=os.getppid())  # it ends when its parent does
