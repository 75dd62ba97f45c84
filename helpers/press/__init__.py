"""The press: notebooks and LaTeX answers to one PDF.

``execute`` runs a notebook, ``render`` turns the executed notebook into LaTeX, ``typeset``
sets an edition, ``preflight`` looks the result over. Make holds the order between them.
"""
