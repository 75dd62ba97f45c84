"""The press: notebooks and LaTeX answers to one PDF.

``execute`` runs a notebook, ``render`` turns the executed notebook into LaTeX, ``typeset``
sets an edition, ``preflight`` looks the result over. Make holds the order between them.
"""

import sys

# jsonschema, which nbformat imports, takes this if it is there to look for IRIs, which no
# notebook has: building its grammar is most of what `homework` takes to start.
sys.modules.setdefault("rfc3987_syntax", None)
