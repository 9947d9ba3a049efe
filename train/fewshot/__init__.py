"""Learning from a few pictures a class: the reference of adapters. train/skip.py is the command.

sets.py      a set of pictures with classes and domains; folders of a user's own
icons.py, letters.py, fashion.py   the sets of the suite
crops.py     augmentation
methods.py   probe, Skip Tuning (LSkip, CSkip), full fine-tuning; strength
measure.py   accuracy at each strength, and the choice among them
adapter.py   files of format limoe-adapter-1
suite.py     cells of the suite, kept as they end; tables.py: what they come to
"""
