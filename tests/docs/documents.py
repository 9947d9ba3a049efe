"""What the documents hold: blocks of commands, code within sentences, links, headings.

A fence without a language, or of `sh`, holds commands; any other says what it holds: text, json, ini, python and so on.
"""

import dataclasses
import functools
import re
import shlex
import subprocess

from conftest import ROOT

COMMANDS = ("", "sh")
OTHERS = ("text", "json", "ini", "python", "yaml", "sql", "js")
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.M | re.S)
SPAN = re.compile(r"(?<!`)(`+)(?!`)((?:(?!\n\n).)+?)(?<!`)\1(?!`)", re.S)
LINK = re.compile(r"\]\(([^()\s]+)\)")


@functools.cache
def tracked():
    """Every file of the repository, by its path; also those that are not committed yet."""
    found = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    return frozenset(path for path in found.splitlines() if (ROOT / path).is_file())


@functools.cache
def folders():
    return frozenset(path.rsplit("/", n)[0] for path in tracked() for n in range(1, path.count("/") + 1))


@dataclasses.dataclass(frozen=True)
class Document:
    path: str

    @functools.cached_property
    def text(self):
        return (ROOT / self.path).read_text(encoding="utf-8")

    def blocks(self):
        """(language, text) of each fence."""
        return FENCE.findall(self.text)

    @functools.cached_property
    def prose(self):
        """The text without its fences."""
        return FENCE.sub("", self.text)

    def commands(self):
        return [command for language, text in self.blocks() if language in COMMANDS for command in commands_of(text)]

    def in_its_folder(self, command):
        """The command as it runs from the top: train/README.md's run in train/."""
        return f"cd train && {command}" if self.path.startswith("train/") else command

    def spans(self):
        """What stands in backticks, each on one line."""
        return [" ".join(span.split()) for _, span in SPAN.findall(self.prose)]

    def links(self):
        return LINK.findall(SPAN.sub("", self.prose))

    def anchors(self):
        """What a link may name behind '#', as GitHub makes it of each heading."""
        headings = re.findall(r"^#{1,6} +(.+?) *#*$", self.prose, re.M)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@functools.cache
def documents():
    return [Document(path) for path in sorted(tracked()) if path.endswith(".md")]


def is_whole(command):
    """Whether a shell would begin to run it, rather than wait for the next line."""
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return not command.endswith("\\")


def commands_of(block):
    """The commands of a block, without lines of comment alone."""
    found, command = [], ""
    for line in block.splitlines():
        command = f"{command}\n{line}" if command else line
        if is_whole(command):
            if shlex.split(command, comments=True):
                found.append(command.strip())
            command = ""
    assert not command, f"a command without an end: {command}"
    return found


def plain(command):
    """The command in one line, without a comment: what it is listed by."""
    words = shlex.split(command, comments=True)
    for at in [found.start() for found in re.finditer("#", command)] + [len(command)]:
        if is_whole(command[:at]) and shlex.split(command[:at]) == words:
            return " ".join(command[:at].replace("\\\n", " ").split())
    raise AssertionError(command)
