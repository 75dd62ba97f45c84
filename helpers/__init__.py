"""What the notebooks share: the mathematics of each in a module of its name, and the tools."""

import sys

# nbformat imports jsonschema, which takes this package if it is there, to look for IRIs, which
# no notebook has: building its grammar is 1.2 s of the 1.5 s that each of our processes starts in.
sys.modules.setdefault("rfc3987_syntax", None)
