"""The press: notebooks and LaTeX answers to one PDF.

``execute`` runs a notebook, ``render`` turns the executed notebook into LaTeX; ``build`` does both
for all notebooks of an edition. ``typeset`` sets it, ``check`` looks the result over.
"""

import sys

# nbformat imports jsonschema, which takes this package if it is there, to look for IRIs, which
# no notebook has: building its grammar is 1.2 s of the 1.5 s that each of our processes starts in.
sys.modules.setdefault("rfc3987_syntax", None)
