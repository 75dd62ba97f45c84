"""The licence of every installed package, as the package states it, a line each."""

from importlib.metadata import Distribution, distributions


def licence(package: Distribution) -> str:
    """The SPDX expression, else the classifiers, else the first line of free text."""
    stated = package.metadata
    if expression := stated.get("License-Expression"):
        return expression
    known = [c for c in stated.get_all("Classifier", []) if c.startswith("License ::")]
    if known:
        return ", ".join(line.rpartition(" :: ")[2] for line in known)
    text = (stated.get("License") or "").strip() or "not stated"
    return text.splitlines()[0][:80]


if __name__ == "__main__":
    for found in sorted(distributions(), key=lambda found: found.name.lower()):
        print(f"{found.name:32} {found.version:14} {licence(found)}")
