"""The figures published for the original, in seconds per unit: another machine (a darwin/arm64 laptop), another program.

They say what its readers were promised, not how fast it is here. `python -m bench` prints them under "published, other
machine"; the yardstick of this machine is `bench/naive.py`.
"""

from __future__ import annotations

_US = 1e-6
_NS = 1e-9

PARALLEL = {10: 49.8 * _US, 50: 243.6 * _US, 100: 451.8 * _US, 200: 883.2 * _US, 500: 2400 * _US}
SEQUENTIAL = {5: 23.0 * _US, 10: 42.1 * _US, 20: 82.9 * _US, 50: 192.3 * _US}
DIAMOND = 24.5 * _US
#: Per batch of so many workflows.
CONCURRENT = {10: 162.5 * _US, 50: 842.5 * _US, 100: 1700 * _US}

#: One commit per event, `synchronous=NORMAL`.
APPEND = 61.7 * _US
APPEND_ROUND_ROBIN = 70.8 * _US
APPEND_WRITERS = {10: 67.3 * _US, 50: 69.2 * _US, 100: 71.3 * _US}
REPLAY = {10: 76.1 * _US, 100: 628.8 * _US, 1000: 6400 * _US}

#: Per submitted task, by pool size.
POOL = {10: 842 * _NS, 50: 886 * _NS, 100: 947 * _NS, 500: 932 * _NS, 1000: 787 * _NS}
#: Per batch of so many tasks on a pool of 10.
BACKPRESSURE = {1000: 817.2 * _US, 5000: 4000 * _US}
