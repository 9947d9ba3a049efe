"""python -m limoe: the program, in this process's place."""

import os
import sys

from ._places import program

if __name__ == "__main__":
    path = str(program())
    os.execv(path, [path, *sys.argv[1:]])
