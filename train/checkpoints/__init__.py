"""Checkpoints as others keep them, read without running anything that is in them, and folders that limoe serves.

numpy is all that is needed. Tensors are views of the files (tensors.py), so that a model of many GB is converted in little
memory. Whatever is wrong with a file is a Refused, whose message names the file and the key.
"""


class Refused(Exception):
    """A file that is not converted: which, what was found, what is accepted."""
