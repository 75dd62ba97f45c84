"""The press: notebooks and LaTeX answers to one PDF.

``execute`` runs a notebook, ``render`` turns the executed notebook into LaTeX; ``build`` does both
for all notebooks of an edition. ``typeset`` sets it, ``check`` looks the result over.
"""
