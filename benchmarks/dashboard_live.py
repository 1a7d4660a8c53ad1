"""The live stream of the dashboard: how late its clients learn of what a run writes, and what they cost the server.

Run: python benchmarks/dashboard_live.py [--events N] [--json]

The real server, in a process of its own, on the loopback; the clients are sockets of this process, which also writes
the trail as a run does: one line every five milliseconds, flushed each. The delay of a line is from before it is
written until a client has it whole, over all clients and lines. Memory is the resident set of the server: once all are
connected and have a tenth of the lines, and after the last one. Then the same with 200 clients; beside them a request
for a number is timed, and one client too many is refused.
"""

import argparse
import json
import os
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from barwise.trail import ENDING, Event, Trail

REPOSITORY = Path(__file__).resolve().parents[1]
RUN = "run-sample-btc-1h-0a1b2c3d"
PAUSE_S = 0.005
MOST = 200
SERVER = (
    "import sys\nfrom pathlib import Path\nfrom barwise.dashboard.config import DashboardConfig\n"
    "from barwise.dashboard.server import serve\n"
    f"serve(DashboardConfig(home=Path(sys.argv[1]), port=0, max_streams={MOST}))\n"
)
_NUMBER = re.compile(rb"^id: (\d+)$", re.MULTILINE)


class Clients(threading.Thread):
    """So many streams, and when each of their lines came."""

    def __init__(self, port: int, count: int) -> None:
        super().__init__(daemon=True)
        self._selector = selectors.DefaultSelector()
        self._halves: dict[socket.socket, bytes] = {}
        self.arrivals: list[tuple[int, float]] = []
        self.over = threading.Event()
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", port), timeout=30)
            client.sendall(f"GET /api/v1/live?run={RUN} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            self._selector.register(client, selectors.EVENT_READ)
            self._halves[client] = b""

    def run(self) -> None:
        while not self.over.is_set():
            for key, _ in self._selector.select(0.05):
                client = key.fileobj
                assert isinstance(client, socket.socket)
                content = self._halves[client] + client.recv(1 << 20)
                now = time.perf_counter()
                end = content.rfind(b"\n\n") + 1
                self._halves[client] = content[end:]
                self.arrivals += [(int(number), now) for number in _NUMBER.findall(content[:end])]
        for client in self._halves:
            client.close()
        self._selector.close()


def resident_mib(pid: int) -> float:
    """Of a process, now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def waited_for(clients: Clients, count: int) -> None:
    """Wait until so many lines have come."""
    end = time.monotonic() + 60
    while len(clients.arrivals) < count:
        if time.monotonic() > end:
            sys.exit(f"only {len(clients.arrivals):,} of {count:,} lines came")
        time.sleep(0.01)


def measured(home: Path, port: int, pid: int, count: int, events: int) -> dict[str, Any]:
    """Delays and memory with so many clients and lines."""
    path = home / "data" / "results" / f"{RUN}{ENDING}"
    with Trail(path, run=RUN) as trail:
        trail.say("run_begun")
        clients = Clients(port, count)
        clients.start()
        waited_for(clients, count)
        clients.arrivals.clear()
        sent: dict[int, float] = {}
        before, asked = 0.0, []
        for number in range(events):
            sent[number + 1] = time.perf_counter()
            values = {f"parameter_{place}": number / (place + 1) for place in range(12)}
            trail.add([Event("trial", f"trial/{number}", {"number": number, "parameters": values})])
            time.sleep(PAUSE_S)
            if number == events // 10:
                before = resident_mib(pid)
            if number % (events // 10) == 0:
                asked.append(health(port))
        waited_for(clients, count * events)
        after = resident_mib(pid)
        if count >= MOST:
            refused(port)
        clients.over.set()
        clients.join()
    delays = [1e3 * (at - sent[number]) for number, at in clients.arrivals]
    assert len(delays) == count * events
    return {
        "clients": count,
        "events": events,
        "median_ms": statistics.median(delays),
        "p99_ms": statistics.quantiles(delays, n=100)[98],
        "worst_ms": max(delays),
        "before_mib": before,
        "after_mib": after,
        "request_ms": statistics.median(asked),
    }


def health(port: int) -> float:
    """Milliseconds of a small request."""
    began = time.perf_counter()
    if status_of(port, "/api/v1/health") != 200:
        sys.exit("the server is not well")
    return 1e3 * (time.perf_counter() - began)


def status_of(port: int, path: str) -> int:
    """Of an answer that is read whole."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def refused(port: int) -> None:
    """One stream too many is an answer that says so."""
    if status_of(port, "/api/v1/live") != 503:
        sys.exit(f"{MOST + 1} streams were served")


def served(count: int, events: int) -> dict[str, Any]:
    """The same by a server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "BARWISE_HOME": folder}
        server = subprocess.Popen([sys.executable, "-c", SERVER, folder], env=environment, stdout=subprocess.PIPE)
        try:
            assert server.stdout is not None
            match = re.search(rb":(\d+)/", server.stdout.readline())
            assert match is not None
            return measured(Path(folder), int(match[1]), server.pid, count, events)
        finally:
            server.terminate()
            server.wait()


def told(result: dict[str, Any]) -> str:
    """A result as a line."""
    return (
        "{clients:4} clients x {events:,} lines: median {median_ms:.0f} ms, 99 % {p99_ms:.0f} ms, "
        "worst {worst_ms:.0f} ms; memory {before_mib:.1f} -> {after_mib:.1f} MiB; a request beside them "
        "{request_ms:.1f} ms"
    ).format(**result)


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    results = []
    for count in (20, MOST):
        results.append(served(count, chosen.events))
        if not chosen.json:
            print(told(results[-1]))
    if chosen.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
