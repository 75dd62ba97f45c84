"""Many runs of one notebook: a plan, the runs, their records, a table.

``plan`` says which runs there are, ``store`` which of them are done, ``local`` and
``cluster`` do the rest, ``results`` puts the records side by side.
"""
