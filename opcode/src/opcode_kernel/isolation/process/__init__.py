"""What runs in the launcher process: the standard library and this package, nothing else of OPCODE.

One thread, started with an empty environment. `main` forks a supervisor for each command; everything after that fork
happens in a process of its own and ends with it.
"""
