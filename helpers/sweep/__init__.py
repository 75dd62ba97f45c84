"""Many runs of one notebook: a plan, the runs, their records, a table.

``plan`` says which runs there are, ``runs`` which of them are done, ``local`` and
``cluster`` do the rest, ``table`` puts the records side by side.
"""
