"""What the notebooks share: the mathematics of each in a module of its name, and the tools."""

import ctypes
import sys

# nbformat imports jsonschema, which takes this package if it is there, to look for IRIs, which
# no notebook has: building its grammar is 1.2 s of the 1.5 s that each of our processes starts in.
sys.modules.setdefault("rfc3987_syntax", None)

# Large tensors come and go. glibc gives their pages back and asks for them anew, a third of the
# time of training a ViT; it is told to keep up to 1 GiB of them. macOS has another allocator.
if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
    for threshold in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        libc.mallopt(threshold, 2**30)
