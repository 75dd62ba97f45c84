"""Imported last of what forked processes share: the collector passes over what was there before.

Each full collection would take a quarter of a second for the half a million objects of torch and
pandas, and copy the pages that they lie on.
"""

import gc

gc.freeze()
