"""``make doctor``: is everything there that a build needs, and if not, what brings it?

``python helpers/doctor.py python`` and ``… tex`` install what the system lacks, where they may.
Nothing may be installed yet when this runs, so it imports the standard library only, and of that
what the Pythons have, too, that it is there to refuse.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.request
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = (3, 11), (3, 14)  # first and last version that requirements.lock has been resolved for
TEX_PACKAGES = (
    "texlive-xetex texlive-latex-recommended texlive-latex-extra texlive-fonts-recommended "
    "texlive-plain-generic fonts-texgyre fonts-texgyre-math lmodern latexmk "
    "fontconfig"
)
TEX_FILES = (
    "texgyrepagella-regular.otf texgyrepagella-math.otf unicode-math.sty cancel.sty natbib.sty "
    "tcolorbox.sty tikz.sty titlesec.sty booktabs.sty adjustbox.sty enumitem.sty "
    "accsupp.sty needspace.sty refcount.sty bookmark.sty"
).split()
TEX_ELSEWHERE = f"""\
On Debian or Ubuntu:  sudo apt-get install --no-install-recommends {TEX_PACKAGES}
On a Mac:             brew install --cask mactex-no-gui
With conda, or with no rights to install: TeX Live from https://tug.org/texlive/quickinstall.html
                      goes into a folder of your own; put its bin folder on PATH"""
HUB = "https://huggingface.co"


def main(arguments: list[str]) -> int:
    """``python`` or ``tex``: see that it is complete or install it; without: a line for each check.

    The exit status is 2 where something is still missing, 1 after a check that failed.
    """
    if arguments:
        return complete(*arguments)
    failures = 0
    for name, look in CHECKS.items():
        try:
            found, fix = look()
        except ImportError as error:
            found, fix = f"the package {error.name} is missing", "run `make setup`"
        sign = "[OK]  " if not fix else "[NOTE]" if look is data else "[FAIL]"
        failures += sign == "[FAIL]"
        print(f"{sign} {name}: {found}")
        if fix:
            print("       " + fix.replace("\n", "\n       "))
        if look is python and fix:
            break  # it could not read what follows
    return min(failures, 1)


def complete(kind: str) -> int:
    """See that Python or TeX is complete, install what is missing, or say how to."""
    look = {"python": missing_python, "tex": missing_tex}[kind]
    missing, packages = look()
    if missing and packages and apt_install(packages, missing):
        missing, packages = look()
    if missing:
        print(f"homework: missing: {', '.join(missing)}", file=sys.stderr)
        by_hand = f"Run: sudo apt-get install {packages}" if packages else ""
        print(TEX_ELSEWHERE if kind == "tex" else by_hand, file=sys.stderr)
    return 2 if missing else 0


def missing_python() -> tuple[list[str], str]:
    """What this Python lacks, and the Debian packages that bring it."""
    (first, last), version = PYTHONS, sys.version_info[:2]
    if not first <= version <= last:
        wanted = " to ".join(f"{major}.{minor}" for major, minor in PYTHONS)
        here = f"{version[0]}.{version[1]}"
        return [f"Python {wanted} (this is {here}; name another with make PYTHON=python3.12)"], ""
    if importlib.util.find_spec("ensurepip") is None:
        return ["Python's venv module"], "python3-venv"
    return [], ""


def missing_tex() -> tuple[list[str], str]:
    """Programs and files of TeX that are not there, and the Debian packages that bring them."""
    missing = [name for name in ("xelatex", "latexmk", "bibtex") if not shutil.which(name)]
    if shutil.which("kpsewhich"):
        run = subprocess.run(["kpsewhich", *TEX_FILES], capture_output=True, text=True)
        there = {Path(line).name for line in run.stdout.splitlines() if Path(line).exists()}
        missing += [name for name in TEX_FILES if name not in there]
    else:
        missing.append("TeX Live")
    return missing, TEX_PACKAGES if missing else ""


def apt_install(packages: str, missing: list[str]) -> bool:
    """Install Debian packages, if this is Debian and nobody has to be asked for a password."""
    if not shutil.which("apt-get"):
        return False
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    if sudo and subprocess.run([*sudo, "true"], capture_output=True).returncode:
        return False
    print(f"Missing: {', '.join(missing)}. Installing with apt-get: {packages}")
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    subprocess.run([*sudo, *quiet, "update"], stdout=subprocess.DEVNULL)
    install = [*sudo, *quiet, "install", "--no-install-recommends", *packages.split()]
    return subprocess.run(install, stdout=subprocess.DEVNULL).returncode == 0


# Each check: what was found, and what to do about it; an empty fix means that it is all right


def python() -> tuple[str, str]:
    """A Python that the lock was resolved for, with venv."""
    missing, packages = missing_python()
    install = f"sudo apt-get install {packages}" if packages else "install that Python"
    return (", ".join(missing), install) if missing else (platform.python_version(), "")


def packages(lock: Path = ROOT / "requirements.lock") -> tuple[str, str]:
    """Every package of the lock that this platform wants, in the version that it names."""
    from packaging.requirements import Requirement

    locked = map(Requirement, re.findall(r"^\w.*?==[^\\\n]*", lock.read_text(), re.M))
    wanted = [one for one in locked if not one.marker or one.marker.evaluate()]
    here = {one: metadata.version(one.name) for one in wanted}
    wrong = [f"{one.name} is {here[one]}" for one in wanted if here[one] not in one.specifier]
    if wrong:
        return f"not as in {lock.name}: {', '.join(wrong[:3])}", "rm -r .venv && make setup"
    return f"{len(wanted)} as in {lock.name}", ""


def tex() -> tuple[str, str]:
    """XeLaTeX, latexmk, BibTeX, and the packages and fonts that homework.cls loads."""
    missing, _ = missing_tex()
    if missing:
        return f"missing: {', '.join(missing)}", f"make tex, or by hand.\n{TEX_ELSEWHERE}"
    return "XeLaTeX, latexmk, BibTeX, and the packages and fonts of homework.cls", ""


def room() -> tuple[str, str]:
    """Disk for what is built, memory for one notebook at a time."""
    disk = shutil.disk_usage(ROOT).free / 1e9
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    fix = "1 GB of disk and 4 GB of memory are needed; `make pdf JOBS=1` takes least"
    return f"{disk:.0f} GB of disk free, {memory:.0f} GB of memory", fix * (disk < 1 or memory < 4)


def gpu() -> tuple[str, str]:
    """A GPU is welcome but not needed; one that PyTorch can't use is a fault."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name(), ""
    if shutil.which("nvidia-smi"):
        found = f"there is an NVIDIA driver, but PyTorch {torch.__version__} finds no GPU"
        return found, "renew the driver, and see that CUDA_VISIBLE_DEVICES is not empty"
    return "none; everything runs on the processor, the full profile for hours", ""


def data() -> tuple[str, str]:
    """The data sets: at hand, or to be had from the hub."""
    folder = ROOT / Path(os.environ.get("DATA_DIR") or "data/cache").expanduser()
    sets = sorted(path.name for path in folder.glob("[!.]*"))
    found = f"{', '.join(sets) or 'nothing'} in {folder}"
    try:
        urllib.request.urlopen(os.environ.get("HF_ENDPOINT") or HUB, timeout=5).close()
    except (OSError, ValueError):
        fix = "see data/README.md, No network; else the quick profile computes on stand-ins"
        return f"{found}; {HUB} does not answer", fix
    return f"{found}; the rest is downloaded when first needed", ""


CHECKS = {"Python": python, "packages": packages, "TeX": tex, "disk and memory": room, "GPU": gpu,
          "data": data}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
