"""Helpers shared by several tests. ``make_…`` makes data."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC, EXAMPLE = ROOT / "src", ROOT / "examples" / "diabetes"
sys.path[:0] = [path for path in (str(SRC), str(EXAMPLE)) if path not in sys.path]  # for scripts and other processes
