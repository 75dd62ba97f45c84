"""Many runs of one notebook: a plan, the runs, their records, a table.

``plan`` says which runs there are, ``runs`` which of them are done, ``engine`` does the rest by
Dask (``task`` is what a worker does), ``table`` puts the records side by side, and ``command`` is
the command line of it all.
"""
