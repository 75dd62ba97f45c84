"""``make doctor``: is everything there that `make pdf` needs, and if not, what brings it?

Imports the standard library only, and the rest where it is looked at: it must be able to
report a package that is missing, and a Python that is too old for the rest.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from . import system

ROOT = Path(__file__).resolve().parents[2]
DISK_GB = 8, 1  # free space that `make pdf` needs, before and after `make setup`
MEMORY_GB = 4
PLACEHOLDER = "OWNER/REPO"  # in pyproject.toml, until somebody publishes this


@dataclass(frozen=True)
class Check:
    """What was found, and what to do about it; an empty ``fix`` means that it is all right.

    A ``note`` is about something that no build needs: it is told, and is no failure.
    """

    found: str
    fix: str = ""
    note: bool = False

    @property
    def mark(self) -> str:
        """How the line begins."""
        return "[OK]  " if not self.fix else "[NOTE]" if self.note else "[FAIL]"


def main() -> int:
    """Print a line for each check, and the fix below where there is one; 1 after a failure.

    A Python that is too old is told alone: it could not read the modules of the other checks.
    """
    failures = 0
    for name, look in CHECKS.items():
        try:
            check = look()
        except ImportError as error:
            check = Check(f"the package {error.name} is missing", "run `make setup`")
        failures += bool(check.fix) and not check.note
        print(f"{check.mark} {name}: {check.found}")
        if check.fix:
            print(f"       {check.fix}")
        if look is python and sys.version_info[:2] < system.PYTHONS[0]:
            return 1
    return min(failures, 1)


def python() -> Check:
    """A Python that the lock was resolved for, with venv."""
    missing, packages = system.missing_python()
    if not missing:
        return Check(platform.python_version())
    install = f"sudo apt-get install {' '.join(packages)}"
    return Check(f"missing: {', '.join(missing)}", install if packages else "install that Python")


def packages(lock: Path = ROOT / "requirements.lock") -> Check:
    """Every package of the lock that this platform wants, in the version that it names."""
    from packaging.markers import Marker

    lines = re.findall(r"^([\w.-]+)==([^\s;]+)(?: *; *(.*?))? *\\?$", lock.read_text(), re.M)
    wanted = {name: version for name, version, marker in lines
              if not marker or Marker(marker).evaluate()}  # fmt: skip
    wrong = []
    for name, version in wanted.items():
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            here = "missing"
        if here.partition("+")[0] != version.partition("+")[0]:
            wrong.append(f"{name} is {here}, not {version}" if here != "missing" else
                         f"{name} is missing")  # fmt: skip
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        return Check("; ".join(wrong[:3]) + more, f"run {_anew()}")
    return Check(f"{len(wanted)} as in {lock.name}")


def pandoc() -> Check:
    """The pandoc that comes as a wheel."""
    import pypandoc

    try:
        return Check(str(pypandoc.get_pandoc_version()))
    except OSError:
        return Check("missing", f"run {_anew()}: the package brings it")


def tex() -> Check:
    """XeLaTeX, latexmk and the packages that homework.cls loads."""
    missing, packages = system.missing_tex()
    if not missing:
        return Check("XeLaTeX, latexmk and the packages of homework.cls")
    fix = system.TEX_ELSEWHERE.format(packages=" ".join(packages)).replace("\n", "\n       ")
    return Check(
        f"missing: {', '.join(missing)}", f"run `make tex`, or install by hand.\n       {fix}"
    )


def fonts() -> Check:
    """The text and math fonts of TeX, and the fallback fonts that Matplotlib carries."""
    from .errors import UserError
    from .glyphs import BUNDLED_FONTS, MATH_FONT, TEXT_FONT, find_tex_font

    if missing := [path.name for path in BUNDLED_FONTS if not path.exists()]:
        return Check(f"Matplotlib lacks {', '.join(missing)}", f"run {_anew()}")
    try:
        names = [find_tex_font(name).stem for name in (TEXT_FONT, MATH_FONT)]
    except UserError as error:
        return Check(str(error), "run `make tex`, or install fonts-texgyre and fonts-texgyre-math")
    return Check(f"{', '.join(names)} and Matplotlib's DejaVu")


def disk() -> Check:
    """Room for the environment and for what is built."""
    free = shutil.disk_usage(ROOT).free / 1e9
    needed = DISK_GB[(ROOT / ".venv" / ".ready").exists()]
    if free < needed:
        return Check(
            f"{free:.1f} GB free", f"free {needed} GB; `make clean` removes what was built"
        )
    return Check(f"{free:.0f} GB free")


def memory() -> Check:
    """Memory for one notebook at a time."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    if total < MEMORY_GB:
        return Check(f"{total:.1f} GB", f"{MEMORY_GB} GB are needed; `make pdf JOBS=1` needs least")
    return Check(f"{total:.0f} GB")


def gpu() -> Check:
    """A GPU is welcome but not needed; one that PyTorch can't use is a fault."""
    import torch

    if torch.cuda.is_available():
        return Check(torch.cuda.get_device_name())
    if shutil.which("nvidia-smi"):
        return Check(
            f"there is an NVIDIA driver, but PyTorch {torch.__version__} finds no GPU",
            "renew the driver, and see that CUDA_VISIBLE_DEVICES is not empty",
        )
    return Check("none; everything runs on the processor, the full profile for hours")


def data() -> Check:
    """The data sets: at hand, or to be had from their servers."""
    from ..data import data_dir

    missing = _missing_data()
    if not missing:
        return Check(f"all data sets are in {data_dir()}")
    names = ", ".join(missing)
    if not _silent_servers(missing):
        return Check(f"{names}: downloaded when first needed")
    return Check(
        f"{names}: not in {data_dir()}, and no network to download from",
        "set DATA_DIR to a folder that holds them (data/README.md); without them the quick "
        "profile\n       computes on stand-ins, and the full profile stops",
    )


def network() -> Check:
    """The servers of the data sets that are not at hand."""
    missing = _missing_data()
    if not missing:
        return Check("not needed, the data sets are here")
    if silent := _silent_servers(missing):
        return Check(
            f"no answer from {', '.join(silent)}",
            "behind a proxy, set https_proxy; for a mirror of the Hugging Face hub, HF_ENDPOINT",
        )
    return Check("the data sets' servers answer")


def address() -> Check:
    """The repository's own address, which badges, Colab cells and the README are made from."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^Repository = "(.*)"', project, re.M)
    if found is None or PLACEHOLDER in found[1]:
        return Check(
            "Colab badges lead nowhere until the repository's address stands in pyproject.toml",
            f"put it there in place of {PLACEHOLDER}, then run `make colab`",
            note=True,
        )
    return Check(found[1])


CHECKS: dict[str, Callable[[], Check]] = {
    "Python": python,
    "packages": packages,
    "pandoc": pandoc,
    "TeX": tex,
    "fonts": fonts,
    "disk": disk,
    "memory": memory,
    "GPU": gpu,
    "data": data,
    "network": network,
    "address": address,
}


def _anew() -> str:
    """The command that installs all packages afresh."""
    return f"`{'rm -r .venv && ' * (ROOT / '.venv').exists()}make setup`"


def _missing_data() -> dict[str, list[str]]:
    """Data sets of which a file is not in DATA_DIR, with that file's addresses."""
    from .. import catalogue

    files = {
        "Fashion-MNIST": [file for pair in catalogue.FASHION_MNIST.values() for file in pair],
        "IMDB": list(catalogue.IMDB.values()),
        "word pairs": [*catalogue.WORD_PAIRS.values(), catalogue.ANALOGIES],
    }
    there = {path for path, _ in catalogue.present()}
    missing = {}
    for name, parts in files.items():
        if absent := [file for file in parts if file.path not in there]:
            missing[name] = list(absent[0].urls)
    if not catalogue.corpora():
        missing["text8"] = list(catalogue._TEXT8_ZIP.urls)
    return missing


def _silent_servers(missing: dict[str, list[str]]) -> list[str]:
    """Hosts none of whose mirrors answers, a data set at a time."""
    from ..downloads import _OFFLINE_SWITCHES

    for name in _OFFLINE_SWITCHES:
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):  # as for downloads
            return [f"any server ({name} is set)"]
    with ThreadPoolExecutor() as pool:
        answers = {name: pool.map(_answers, urls) for name, urls in missing.items()}
        silent = [missing[name][0] for name, found in answers.items() if not any(found)]
    return sorted({urlsplit(url).hostname or url for url in silent})


def _answers(url: str) -> bool:
    """Whether a download from ``url`` would find its server, or the proxy before it."""
    from ..downloads import _gateway, _reachable

    try:
        return bool(urlsplit(url).hostname) and _reachable(*_gateway(url))
    except ValueError:  # no address
        return False


if __name__ == "__main__":
    sys.exit(main())
