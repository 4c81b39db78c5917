"""Which paths an action may touch, decided on the object it then uses (spec 02 section 12.2).

    with PathGuard.of(ctx.policy.paths).reach("read", params.path) as place:
        descriptor = place.open(os.O_RDONLY)

`system` asks the operating system, `place` acts through open directories, `resolving` gets from a path to a place,
`rules` resolves what is configured, `spelling` compares, `guard` decides, `by_name` serves who can only use a path.
"""

from opcode_kernel.plugin.paths.by_name import resolve_read, resolve_write
from opcode_kernel.plugin.paths.guard import Access, PathGuard
from opcode_kernel.plugin.paths.place import Directory, Place
from opcode_kernel.plugin.paths.resolving import absolute_path

__all__ = ["Access", "Directory", "PathGuard", "Place", "absolute_path", "resolve_read", "resolve_write"]
