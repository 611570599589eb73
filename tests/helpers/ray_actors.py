"""Actors of Ray that are workers, as processes of this machine."""

import subprocess


def find_actors(parent: int) -> list[int]:
    """Find the actors of the local cluster that a process has started."""
    lines = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in lines.splitlines()[1:]]
    parents = {int(pid): int(above) for pid, above, _ in rows}
    actors = [int(pid) for pid, _, arguments in rows if arguments.startswith("ray::TrackedWorker")]
    return [pid for pid in actors if parents.get(parents[pid]) == parent]
