"""Clients that ask a server as fast as it answers: `server.py` starts this in a process of its own.

    python scripts/benchmarks/server_clients.py URL FILE CLIENTS SECS

Posts the file's bytes; prints one line of JSON: answers a second, and milliseconds of their median and 99th percentile.
It imports nothing heavy and reads no more of HTTP than it must, for it runs on the same processors as the server.
"""

import asyncio
import json
import pathlib
import sys
import time
import urllib.parse


async def ask(url: str, body: bytes, num_clients: int, secs: float) -> tuple[float, float, float]:
    place = urllib.parse.urlsplit(url)
    head = f"POST {place.path} HTTP/1.1\r\nHost: {place.hostname}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    latencies: list[float] = []
    stop = time.perf_counter() + secs

    async def client() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        while (started := time.perf_counter()) < stop:
            writer.write(head + body)
            status, *fields = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            length = next(int(field.partition(b":")[2]) for field in fields if field.startswith(b"content-length:"))
            answer = await reader.readexactly(length)
            if status.split()[1] != b"200":
                raise RuntimeError(f"{status.decode()}: {answer.decode()}")
            latencies.append(time.perf_counter() - started)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(num_clients)))
    rate = len(latencies) / (time.perf_counter() - started)
    latencies.sort()
    return rate, 1e3 * latencies[len(latencies) // 2], 1e3 * latencies[int(0.99 * len(latencies))]


if __name__ == "__main__":
    url, file, num_clients, secs = sys.argv[1:]
    print(json.dumps(asyncio.run(ask(url, pathlib.Path(file).read_bytes(), int(num_clients), float(secs)))))
