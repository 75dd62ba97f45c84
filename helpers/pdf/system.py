"""What the operating system has to provide: a complete Python, and TeX with its fonts.

Runs before anything is installed, so it needs the standard library only, and of that what the
Pythons have, too, that it is there to refuse: 3.8, say, which cannot evaluate ``list[str]``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

PYTHONS = (3, 11), (3, 14)  # first and last version that requirements.lock has been resolved for
TEX_PACKAGES = (
    "texlive-xetex texlive-latex-recommended texlive-latex-extra texlive-fonts-recommended "
    "texlive-plain-generic fonts-texgyre fonts-texgyre-math lmodern latexmk fontconfig"
).split()
TEX_FILES = (
    "texgyrepagella-regular.otf texgyrepagella-math.otf unicode-math.sty fvextra.sty "
    "tcolorbox.sty tikz.sty titlesec.sty microtype.sty booktabs.sty adjustbox.sty enumitem.sty "
    "accsupp.sty needspace.sty refcount.sty bookmark.sty"
).split()
TEX_ELSEWHERE = """\
On Debian or Ubuntu:  sudo apt-get install --no-install-recommends {packages}
On a Mac:             brew install --cask mactex-no-gui
With conda, or with no rights to install: TeX Live from https://tug.org/texlive/quickinstall.html
                      goes into a folder of your own; put its bin folder on PATH"""


def main(arguments: list[str]) -> int:
    """``python`` or ``tex``: see that it is complete, install what is missing, or say how."""
    missing, packages = missing_python() if arguments == ["python"] else missing_tex()
    if not missing:
        return 0
    if packages and apt_install(packages, missing):
        missing, _ = missing_python() if arguments == ["python"] else missing_tex()
    if missing:
        print(f"homework: missing: {', '.join(missing)}", file=sys.stderr)
        if arguments == ["tex"]:
            print(TEX_ELSEWHERE.format(packages=" ".join(TEX_PACKAGES)), file=sys.stderr)
        elif packages:
            print(f"Run: sudo apt-get install {' '.join(packages)}", file=sys.stderr)
    return 2 if missing else 0


def missing_python() -> tuple[list[str], list[str]]:
    """What this Python lacks, and the Debian packages that bring it."""
    (first, last), version = PYTHONS, sys.version_info[:2]
    if not first <= version <= last:
        wanted = " to ".join(f"{major}.{minor}" for major, minor in PYTHONS)
        here = f"{version[0]}.{version[1]}"
        return [f"Python {wanted} (this is {here}; name another with make PYTHON=python3.12)"], []
    if importlib.util.find_spec("ensurepip") is None:
        return ["Python's venv module"], ["python3-venv"]
    return [], []


def missing_tex() -> tuple[list[str], list[str]]:
    """Programs and files of TeX that are not there, and the Debian packages that bring them."""
    missing = [program for program in ("xelatex", "latexmk") if not shutil.which(program)]
    if shutil.which("kpsewhich"):
        missing += [name for name in TEX_FILES if not _found(name)]
    else:
        missing.append("TeX Live")
    return missing, TEX_PACKAGES if missing else []


def apt_install(packages: list[str], missing: list[str]) -> bool:
    """Install Debian packages, if this is Debian and nobody has to be asked for a password."""
    if not shutil.which("apt-get"):
        return False
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    if sudo and subprocess.run([*sudo, "true"], capture_output=True).returncode:
        return False
    print(f"Missing: {', '.join(missing)}. Installing with apt-get: {' '.join(packages)}")
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    subprocess.run([*sudo, *quiet, "update"], stdout=subprocess.DEVNULL)
    install = [*sudo, *quiet, "install", "--no-install-recommends", *packages]
    return subprocess.run(install, stdout=subprocess.DEVNULL).returncode == 0


def _found(name: str) -> bool:
    run = subprocess.run(["kpsewhich", name], capture_output=True, text=True)
    return bool(run.stdout.strip()) and Path(run.stdout.strip()).exists()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
