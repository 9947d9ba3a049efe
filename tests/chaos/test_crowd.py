"""Hundreds of connections that ask again as soon as they are answered: nobody is forgotten.

Sizes around a multiple of 128 are on purpose: an event loop that collects so many events at a time, and waits once more
when it has got exactly so many, stands still here with everybody waiting.
"""

import asyncio

import pytest

TIMEOUT = 20  # seconds; an answer takes milliseconds


async def ask_again(port, rounds, unanswered):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for _ in range(rounds):
            writer.write(b"GET /health HTTP/1.1\r\nHost: limoe\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT)
            length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await asyncio.wait_for(reader.readexactly(length), TIMEOUT)
    except TimeoutError:
        unanswered.append(writer.get_extra_info("sockname"))
    finally:
        writer.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_nobody_is_forgotten_in_a_crowd(start, threads):
    server = start("--http-threads", threads, "--log-level", "warning")
    unanswered = []

    async def crowd(size):
        await asyncio.gather(*(ask_again(server.port, 60, unanswered) for _ in range(size)))

    for size in (127, 128, 256, 384, 256, 128):
        asyncio.run(crowd(size))
        assert not unanswered, f"{len(unanswered)} of {size} connections got no answer"
