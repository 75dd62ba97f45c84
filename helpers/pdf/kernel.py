"""A papermill engine that stops a notebook which prints without end."""

from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines

NAME = "homework"
MAX_OUTPUT = 20_000_000  # characters that a notebook may put out; figures count, too


class TooMuchOutput(Exception):
    """A notebook put out more than MAX_OUTPUT."""


class BoundedClient(PapermillNotebookClient):
    """Counts what comes from the kernel; at MAX_OUTPUT, takes no more and ends the kernel."""

    put_out = 0

    def process_message(self, msg, cell, cell_index):
        content = msg["content"]
        texts = [content.get("text"), *content.get("data", {}).values()]
        self.put_out += sum(len(text) for text in texts if isinstance(text, str))
        if self.put_out <= MAX_OUTPUT:
            return super().process_message(msg, cell, cell_index)
        if self.km.provisioner and self.km.provisioner.process:
            self.km.provisioner.process.kill()
        return None


class BoundedEngine(NBClientEngine):
    """papermill's own engine with a bounded client."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, *, timeout_func, config, **_):
        """Run the cells. Raises TooMuchOutput beside what papermill's engine raises."""
        client = BoundedClient(
            nb_man,
            kernel_name=kernel_name,
            timeout_func=timeout_func,
            startup_timeout=60,
            config=config,
            shutdown_kernel="immediate",
        )
        try:
            client.execute()
        except DeadKernelError:
            if client.put_out > MAX_OUTPUT:
                raise TooMuchOutput from None
            raise


papermill_engines.register(NAME, BoundedEngine)
