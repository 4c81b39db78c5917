"""The speed figures of this repository: `python -m bench` from its root. See `docs/speed.md`."""
