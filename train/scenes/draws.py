"""Counter-based randomness: what is drawn depends on the key alone, not on what was drawn elsewhere or by whom."""

import hashlib

MASK = (1 << 64) - 1


class Draws:
    """SplitMix64 started from a hash of its key. Integers only, so that every machine draws the same."""

    def __init__(self, *key):
        text = "\x1f".join(map(str, key)).encode()
        self.state = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")

    def below(self, n: int) -> int:
        """Uniform in [0, n). The bias of the multiplication is below n / 2^64."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return ((z ^ (z >> 31)) * n) >> 64

    def between(self, low: int, high: int) -> int:
        """Uniform in [low, high], or low where the range is empty."""
        return low + self.below(max(1, high - low + 1))

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent

    def pick(self, items):
        return items[self.below(len(items))]

    def shuffled(self, items) -> list:
        items = list(items)
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]
        return items

    def sample(self, items, count: int) -> list:
        return self.shuffled(items)[:count]


def hashed(*key) -> int:
    """A fixed number for a key: what the split rules are made of."""
    return Draws("split", *key).below(1 << 32)
