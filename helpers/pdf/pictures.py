"""Pictures of any kind as files that XeLaTeX reads: PDF, PNG or JPEG."""

import base64
import binascii
import http.client
import io
import os
import re
import string
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageOps
from pypdf import PdfReader

from .glyphs import FONT_FOLDER
from .text import prose

ORIENTATION = 0x0112  # of EXIF; 1: upright
_ENDINGS, _MODES = {"PNG": ".png", "JPEG": ".jpg"}, {"PNG": "RGBA", "JPEG": "RGB"}
MAX_BYTES = 30_000_000
_SECONDS = 5  # that a server may take
_POINTS = 0.75  # a pixel of a screen, which Jupyter takes for 1/96 inch


class NoPicture(Exception):
    """Why there is no picture, in a few words."""


@dataclass
class Pictures:
    """The pictures of one notebook, numbered in the order in which they are added.

    ``folder`` is where ``files`` are to be written, ``places`` where a notebook's own pictures
    are looked for.
    """

    folder: Path
    places: Sequence[Path] = ()
    files: dict[Path, bytes] = field(default_factory=dict)
    offline: bool = False

    def latex(self, data: bytes, width: str = "", alt: str = "") -> str:
        """LaTeX for a picture, ``width`` as in HTML. Raises NoPicture where it is broken."""
        data, ending, pixels = _readable(data)
        path = self.folder / f"figure-{len(self.files) + 1}{ending}"
        self.files[path] = data
        name = f"{self.folder.parent.name}/{self.folder.name}/{path.name}"
        return rf"\nbpicture{{{name}}}{{{_width(width, pixels)}}}{{{prose(alt)}}}"

    def find(self, address: str, attachments: Mapping[str, Mapping[str, str]]) -> bytes:
        """The picture at an address as Markdown has it. Raises NoPicture where there is none."""
        if address.startswith("data:"):
            head, _, content = address.partition(",")
            content = urllib.parse.unquote(content)
            return decoded(content) if head.endswith("base64") else content.encode()
        if address.startswith("attachment:"):
            bundle = attachments.get(urllib.parse.unquote(address.removeprefix("attachment:")))
            if not bundle:
                raise NoPicture("it is not attached")
            return decoded(next(iter(bundle.values())))
        if urllib.parse.urlsplit(address).scheme in ("http", "https"):
            return self._fetch(address)
        name = urllib.parse.unquote(address.split("?")[0]).removeprefix("file://")
        for place in self.places:
            if os.path.isfile(place / name):  # of what is no name, too
                return (place / name).read_bytes()
        raise NoPicture("there is no such file beside the notebook")

    def _fetch(self, address: str) -> bytes:
        """From the network, which is asked no more once it did not answer."""
        if self.offline:
            raise NoPicture("the network can't be reached")
        address = urllib.parse.quote(address, safe=string.punctuation)  # as browsers do
        request = urllib.request.Request(address, headers={"User-Agent": "Mozilla/5.0"})
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                return answer.read(MAX_BYTES)
        except urllib.error.HTTPError as error:
            raise NoPicture(f"the server says {error.code} {error.reason}") from None
        except (OSError, ValueError, http.client.HTTPException):
            self.offline = True
            raise NoPicture("the network can't be reached") from None


def decoded(text: str) -> bytes:
    """A picture as a notebook stores it: SVG as text, anything else in base64."""
    if text.lstrip().startswith("<"):
        return text.encode()
    try:
        return base64.b64decode(text)
    except binascii.Error:
        raise NoPicture("it is not valid base64") from None


def _readable(data: bytes) -> tuple[bytes, str, int]:
    """A picture that XeLaTeX reads, the ending of its file, and its width in pixels or 0."""
    try:
        if data.startswith(b"%PDF"):
            PdfReader(io.BytesIO(data)).pages[0].get_contents()
            return data, ".pdf", 0
        if b"<svg" in data[:5000]:
            return _from_svg(data), ".pdf", 0
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()  # of several frames the first
            kind = picture.format if picture.format in _ENDINGS else "PNG"
            upright = picture.getexif().get(ORIENTATION, 1) == 1
            if kind != picture.format or not upright:  # as a browser turns a phone's photograph
                picture, new = ImageOps.exif_transpose(picture), io.BytesIO()
                picture.convert(_MODES[kind]).save(new, kind, quality=95)
                data = new.getvalue()
            return data, _ENDINGS[kind], picture.width
    except Exception:  # the readers of pictures raise dozens of kinds
        raise NoPicture("it is broken") from None


def _from_svg(data: bytes) -> bytes:
    """A vector picture as PDF, by Typst: it embeds fonts and needs no library of the system."""
    import typst  # seldom needed

    page = b"#set document(date: none)\n#set page(width: auto, height: auto, margin: 0pt)\n"
    page += b'#image(bytes(sys.inputs.svg), format: "svg")'
    return typst.compile(page, font_paths=[FONT_FOLDER], sys_inputs={"svg": data.decode()})


def _width(asked: str, pixels: int) -> str:
    """TeX's width for HTML's ``80``, ``80px`` or ``50%``; or the picture's own."""
    found = re.fullmatch(r"\s*(\d+\.?\d*)\s*(px|%|)\s*", asked)
    if found and found[2] == "%":
        return rf"{min(float(found[1]), 100) / 100:.3f}\linewidth"
    pixels = float(found[1]) if found else pixels
    return f"{_POINTS * pixels:.1f}bp" if pixels else ""
