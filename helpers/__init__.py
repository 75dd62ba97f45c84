"""What the notebooks share: the mathematics of each in a module of its name, and the tools."""
