"""Kinds of requests that take turns, and how long each takes beside one of them."""

import statistics


def take_turns(send, kinds, rounds):
    """{name: (path, body)} -> {name: [(client ms, server ms)]}, as send(method, path, body) begins its answer."""
    times = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, (path, body) in kinds.items():
            times[name].append(send("POST", path, body)[:2])
    return times


def print_beside(times, first):
    """A line for each kind: medians, and the client's beside that of `first`."""
    base = statistics.median(spent[0] for spent in times[first])
    for name, spent in times.items():
        client, server = (statistics.median(column) for column in zip(*spent))
        print(f"{name:<32}{client:>12.3f}{server:>12.3f}{client / base:>11.3f}")
