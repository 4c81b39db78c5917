"""The corpus of ways out: each path is tried by every action, under rules that allow and under rules that deny.

Protected trees hold a canary. After every attempt they are as they were, down to inodes and times, the canary is in no
answer and no error, and in no file where it was not before.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest

from opcode_kernel import OpcodeError, resolve_read

CANARY = "canary-7f3a91"


class Row(NamedTuple):
    """A way to try. `kind` says what it is:

    - `outside`: every action answers `PATH_DENIED`
    - `link`: a link in the allowed tree that leads out: as above, but the link itself may be deleted and moved
    - `broken`: no action succeeds, or one that does stays inside
    - `inside`: it only looks like a way out, and reading it gives what is inside

    `makes` are links to create, `place -> text`, and hard links, `place = target`. `only` is `allow` where the deny
    rules have nothing to say, `reads` where no action that changes anything is to be tried.
    """

    kind: str
    path: str
    makes: tuple[str, ...] = ()
    only: str = ""


def rows(kind, *given, only=""):
    return [Row(kind, *((each,) if isinstance(each, str) else (each[0], each[1:])), only=only) for each in given]


def chain(length, end):
    """Return links l0 to l(n-1), each leading to the next, the last one to `end`."""
    return (*(f"IN/l{n} -> l{n + 1}" for n in range(length - 1)), f"IN/l{length - 1} -> {end}")


DOTS = rows(
    "outside",
    "IN/../out/canary.txt", "IN/sub/../../out/canary.txt", "IN/./../out/canary.txt", "IN//..//out//canary.txt",
    "IN/sub/./.././../out/canary.txt", "IN/none/../../out/canary.txt", "IN/a.txt/../../out/canary.txt",
    "IN/../in/../out/canary.txt", "IN/../../../../../../../../../../../../../../../..OUT/canary.txt", "/OUT/canary.txt",
    "//OUT/canary.txt", "/.OUT/canary.txt", "/..OUT/canary.txt", "/.//..//OUT/canary.txt", "OUT/canary.txt", "OUT/",
    "OUT/canary.txt/", "OUT/canary.txt/.", "OUT/dir/../canary.txt", "OUT/none", "OUT/none/deeper/still",
    "OUT/canary.txt/below", "IN/../out", "IN/../out/", "IN/../out/.", "../out/canary.txt", "./../out/canary.txt",
    "sub/../../out/canary.txt", ".././out/canary.txt", "../out", "../out/new", "sub/deep/../../../out/dir/deep.txt",
    "IN/" + "sub/../" * 200 + "../out/canary.txt", "IN/" + "x" * 300 + "/../../out/canary.txt", "OUT/" + "x" * 300,
    "OUT/..x", "OUT/...", "OUT/.. ", "OUT/\u202e", "OUT/a\nb",
) + rows(
    "outside", "AREA", "IN/..", "..", "../", "../.", "IN/../.", "AREA/in2/canary.txt", "IN/../in2/canary.txt", "IN2/canary.txt",
    "IN/../in2", "AREA/IN/../in2/canary.txt", "AREA/none", "IN./canary.txt", "IN /canary.txt", "AREA/ro/../none", only="allow",
)  # fmt: skip

NUL = rows(
    "outside", "IN/a.txt\0", "IN/a.txt\0/../../out/canary.txt", "OUT/canary.txt\0.txt", "IN/..\0/out/canary.txt", "\0",
    "IN/\0/../a.txt", "IN/a\ud800", "IN/\udcff/../../out/canary.txt", "OUT/\0\ud800",
)  # fmt: skip

DENIED = rows(
    "outside",
    "IN/private/key.txt", "IN/private", "IN/private/", "IN/private/.", "IN/sub/../private/key.txt", "IN//private//key.txt",
    "IN/./private/./key.txt", "IN/private/../private/key.txt", "IN/private/none/deeper", "IN/private/..x", "IN/private/...",
    "IN/denied.txt", "IN/denied.txt/", "IN/denied.txt/x", "IN/home/opcode.db", "IN/home", "IN/home/../home/opcode.db",
    "IN/home/none", "private/key.txt", "./home/opcode.db",
    ("IN/hard", "IN/hard = IN/denied.txt"), ("IN/sub/hard", "IN/sub/hard = IN/denied.txt"),
    ("IN/l/key.txt", "IN/l -> private"), ("IN/l/key.txt", "IN/l -> IN/private"), ("IN/l/new", "IN/l -> ./private/."),
    ("IN/l/l/l/private/key.txt", "IN/l -> ."), ("IN/sub/up/private/key.txt", "IN/sub/up -> .."),
    ("IN/l/opcode.db", "IN/l -> home"), ("IN/l/private/key.txt", "IN/l -> ../in"),
) + rows(
    "link", ("IN/l", "IN/l -> private"), ("IN/l", "IN/l -> private/key.txt"), ("IN/l", "IN/l -> IN/private/none"),
    ("IN/sub/l", "IN/sub/l -> ../private/key.txt"), ("IN/sub/l", "IN/sub/l -> ../denied.txt"), ("IN/l", "IN/l -> home/opcode.db"),
    ("IN/l", "IN/l -> denied.txt"), ("IN/l", "IN/l -> m", "IN/m -> denied.txt"), ("IN/l", "IN/l -> sub/../private/key.txt"),
)  # fmt: skip

LINKS = rows(
    "link", *((f"IN/l{tail}", f"IN/l -> {text}") for tail in ("", "/") for text in (
        "OUT/canary.txt", "../out/canary.txt", "./../out/canary.txt", "sub/../../out/canary.txt", "//OUT/canary.txt",
        "../in/../out/canary.txt", "OUT/../out/canary.txt", "OUT", "OUT/", "../out", "../out/.", "OUT/dir", "OUT/none",
        "../out/none", "OUT/none/deeper", "none/../../out/canary.txt", "a.txt/../../out/canary.txt",
        "OUT/canary.txt/below", "../out/dir/../canary.txt", "../../../../../../../../../../..OUT/canary.txt",
    )),
    ("IN/l0", *chain(2, "OUT/canary.txt")), ("IN/l0", *chain(5, "../out/none")), ("IN/l0", *chain(38, "OUT/canary.txt")),
    ("IN/l", "IN/l -> sub/m", "IN/sub/m -> ../../out/canary.txt"), ("IN/l", "IN/l -> d/canary.txt", "IN/d -> ../out"),
    ("IN/l", "IN/l -> d/../canary.txt", "IN/d -> OUT/dir"), ("IN/l", "IN/l -> d/d/d/../out/none", "IN/d -> ."),
    ("IN/l", f"IN/l -> {'sub/../' * 12}../out/canary.txt"), ("IN/l", f"IN/l -> {'./' * 900}../out/canary.txt"),
    ("IN/l", "IN/l -> ../out/\udcff"), ("IN/...", "IN/... -> OUT/canary.txt"),
    ("IN/..x", "IN/..x -> ../out/canary.txt"), ("IN/ ", "IN/  -> OUT/canary.txt"), ("l", "IN/l -> OUT/canary.txt"),
)  # fmt: skip

MIDDLE = rows(
    "outside",
    ("IN/d/canary.txt", "IN/d -> OUT"), ("IN/d/canary.txt", "IN/d -> ../out"), ("IN/d/canary.txt", "IN/d -> ../out/."),
    ("IN/d/dir/deep.txt", "IN/d -> OUT"), ("IN/d/dir", "IN/d -> OUT"), ("IN/d/none", "IN/d -> OUT"),
    ("IN/d/none/deeper", "IN/d -> OUT"), ("IN/d/f", "IN/d -> OUT/none"), ("IN/d/out/canary.txt", "IN/d -> .."),
    ("IN/dOUT/canary.txt", "IN/d -> /"), ("IN/d/e/f/canary.txt", "IN/d -> .", "IN/e -> sub", "IN/sub/f -> OUT"),
    ("IN/sub/d/e/canary.txt", "IN/sub/d -> ..", "IN/e -> ../out"), ("IN/d/canary.txt", "IN/d -> e", "IN/e -> f", "IN/f -> OUT"),
    ("IN/d/x/canary.txt", "IN/d -> sub", "IN/sub/x -> ../../out"),
    ("IN/d/../../out/canary.txt", "IN/d -> sub"), ("IN/d/canary.txt", "IN/d -> none/../../out"),
    ("IN/d/canary.txt/below", "IN/d -> OUT"), ("d/canary.txt", "IN/d -> OUT"), ("IN/l0/canary.txt", *chain(30, "OUT")),
    ("IN/d/canary.txt", "IN/d -> sub/e/../../../out", "IN/sub/e -> deep"),
) + rows(
    "outside", ("IN/d/in2/canary.txt", "IN/d -> .."), ("IN/d", "IN/d -> .."), ("IN/d/", "IN/d -> ../"),
    ("IN/d", "IN/d -> /"), ("IN/d", "IN/d -> ../.."), only="reads allow",
)  # fmt: skip

LOOPS = rows(
    "broken", ("IN/l", "IN/l -> l"), ("IN/l/x", "IN/l -> l"), ("IN/l", "IN/l -> ./l"), ("IN/l", "IN/l -> IN/l"),
    ("IN/l", "IN/l -> l/x"), ("IN/l", "IN/l -> m", "IN/m -> l"), ("IN/l/x", "IN/l -> sub/m", "IN/sub/m -> ../l"),
    ("IN/l", "IN/l -> sub/../l"), ("IN/l0", *chain(41, "OUT/canary.txt")), ("IN/l0", *chain(200, "OUT/canary.txt")),
    ("IN/l0/canary.txt", *chain(45, "OUT")), ("IN/l", f"IN/l -> {'x' * 300}"), ("IN/l", f"IN/l -> {'sub/../' * 500}../out"),
    "IN/" + "x" * 256, "IN/" + "x/" * 2500, "IN/" + "./" * 3000 + "../out/canary.txt", "x" * 5000, "IN/a.txt/x", "IN/a.txt/x/y",
    "IN/PRIVATE/key.txt", "IN/Private", "IN/DENIED.TXT", "IN/HOME/opcode.db", "IN/pr\u0131vate/key.txt", "IN/private\u200b/key.txt",
    "IN/\uff50rivate/key.txt", "IN/p\u0301rivate",
)  # fmt: skip

INSIDE = rows(
    "inside", "IN/a.txt", "IN//a.txt", "IN/./a.txt", "IN/sub/../a.txt", "IN/none/../a.txt", "IN/../in/a.txt", "a.txt",
    "IN/private/../a.txt", "OUT/../in/a.txt", "//IN/a.txt", ("IN/l", "IN/l -> a.txt"), ("IN/l", "IN/l -> ../in/a.txt"),
    ("IN/l", "IN/l -> IN/a.txt"), ("IN/l", "IN/l -> none/../a.txt"), ("IN/d/a.txt", "IN/d -> ."), ("IN/d/in/a.txt", "IN/d -> .."),
    ("IN/..x", "IN/..x = IN/a.txt"), ("IN/...", "IN/... = IN/a.txt"), ("IN/.. ", "IN/..  = IN/a.txt"),
    ("IN/..\\out\\canary.txt", "IN/..\\out\\canary.txt = IN/a.txt"), ("IN/%2e%2e%2fout", "IN/%2e%2e%2fout = IN/a.txt"),
    ("IN/~", "IN/~ = IN/a.txt"), ("~root", "IN/~root = IN/a.txt"), ("IN/$HOME", "IN/$HOME = IN/a.txt"),
    ("IN/\u2024\u2024", "IN/\u2024\u2024 = IN/a.txt"), ("IN/\uff0e\uff0e", "IN/\uff0e\uff0e = IN/a.txt"),
    ("IN/d/in/a.txt", "IN/d -> OUT/.."), ("IN/l0", *chain(30, "a.txt")), ("IN/l", "IN/l -> d/a.txt", "IN/d -> ../in"),
)  # fmt: skip

PROCESSES = rows(
    "outside", *(f"/proc/{who}/root{what}" for who in ("self", "thread-self", "PID") for what in ("OUT/canary.txt", "IN/a.txt")),
    "/proc/self/cwd/a.txt", "/proc/self/fd/FD", "/proc/PID/fd/FD", "/dev/fd/FD",
    "/dev/stdin", "/proc/self/fd", "/proc/self/fd/", "/dev/fd", "/proc/self/fdinfo/FD", "/proc/self/ns/mnt",
    "/proc/self/task/PID/fd/FD", "/".join(("/proc/self/task/PID", "root", "etc")), "/proc/self/environ", "/proc/PID/environ", "/proc/1/environ",
    "/proc/thread-self/environ", "/proc/self/mem", "/proc/self/task/PID/mem", "/proc/self/exe", "/proc/self/map_files",
    "/proc/../proc/self/environ", "/proc/./self//environ", "/proc/kcore", "/proc/self/auxv",
    ("IN/l", "IN/l -> /proc/self/rootOUT/canary.txt"), ("IN/l", "IN/l -> /proc/self/environ"), ("IN/l", "IN/l -> /proc/self/fd/FD"),
    ("IN/l", "IN/l -> /dev/fd/FD"), ("IN/d/a.txt", "IN/d -> /proc/self/cwd"), ("IN/dOUT/canary.txt", "IN/d -> /proc/self/root"),
    ("IN/d/environ", "IN/d -> /proc/self"), ("IN/d/FD", "IN/d -> /proc/self/fd"), ("IN/l", "IN/l -> /proc/self/cwd"),
    only="reads",
)  # fmt: skip

CORPUS = [*DOTS, *NUL, *DENIED, *LINKS, *MIDDLE, *LOOPS, *INSIDE, *PROCESSES]

READS = {
    "read": lambda fs, path, area: fs("read", path=path),
    "stat": lambda fs, path, area: fs("stat", path=path),
    "list": lambda fs, path, area: fs("list", path=path),
    "list all": lambda fs, path, area: fs("list", path=path, recursive=True),
    "list pattern": lambda fs, path, area: fs("list", path=path, pattern="**/*"),
    "copy from": lambda fs, path, area: fs("copy", src=path, dst=area / "in/copied"),
    "child in": lambda fs, path, area: str(resolve_read(fs.rules, path)),
}
WRITES = {
    "write": lambda fs, path, area: fs("write", path=path, content="x"),
    "write in place": lambda fs, path, area: fs("write", path=path, content="x", atomic=False),
    "write with directories": lambda fs, path, area: fs("write", path=path, content="x", create_dirs=True),
    "write below": lambda fs, path, area: fs("write", path=f"{path}/new/f", content="x", create_dirs=True),
    "append": lambda fs, path, area: fs("append", path=path, content="x"),
    "append with directories": lambda fs, path, area: fs("append", path=path, content="x", create_dirs=True),
    "copy to": lambda fs, path, area: fs("copy", src=area / "in/sub/b.txt", dst=path),
    "copy tree to": lambda fs, path, area: fs("copy", src=area / "in/sub", dst=path, create_dirs=True),
}
#: These act on the name itself.
NAMES = {
    "delete": lambda fs, path, area: fs("delete", path=path),
    "delete all": lambda fs, path, area: fs("delete", path=path, recursive=True),
    "move from": lambda fs, path, area: fs("move", src=path, dst=area / "in/moved"),
    "move to": lambda fs, path, area: fs("move", src=area / "in/sub/b.txt", dst=path),
    "move to a free name": lambda fs, path, area: fs("move", src=area / "in/sub/b.txt", dst=path, overwrite=False),
    "move tree to": lambda fs, path, area: fs("move", src=area / "in/sub", dst=path, create_dirs=True),
}


#: These leave everything as it is, also when they succeed.
PURE = frozenset(READS) - {"copy from"}
#: Every action; each set of rules meets every other of those that change something, so that each path meets them all.
EVERY = READS | WRITES | NAMES
HALVES = [READS | {name: EVERY[name] for name in list(WRITES | NAMES)[start::2]} for start in (0, 1)]


def link(world, make):
    """Create a link as a row spells it."""
    place, kind, target = make.partition(" = " if " = " in make else " -> ")
    target, place = spelled(world, target), Path(spelled(world, place))
    if kind == " = ":
        place.hardlink_to(target)
    else:
        place.symlink_to(target)


def spelled(world, text):
    """Return a path or a text of a row with the real names in it."""
    names = {"AREA": world.root, "OUT": world.out, "IN2": world.root / "in2", "IN": world.inside, "PID": os.getpid()}
    for name, value in {**names, "FD": world.descriptor}.items():
        text = text.replace(name, str(value))
    return text


def attempt(use, fs, path, area):
    """Return the answer, or the error, of one action."""
    try:
        return use(fs, path, area), None
    except OpcodeError as error:
        return None, error


def try_row(fs, world, row, rules, uses):
    """Try actions on a row; return what went wrong.

    The protected places are looked at after everything that succeeded, and once for what failed in between: what fails must
    change nothing either, and nothing could put back inodes and times.
    """
    wrong, since, before = [], [], None
    # What comes after it may take away what something has left behind.
    last_before_names = [name for name in uses if name not in NAMES][-1]
    for name, use in uses.items():
        if before is None:
            world.make()
            for make in row.makes:
                link(world, make)
            os.chdir(world.inside)
            before = world.snapshot()
        fs.rules = world.rules(rules)
        answer, error = attempt(use, fs, spelled(world, row.path), world.root)
        told = json.dumps(answer if error is None else [error.message, error.details])
        if CANARY in told:
            wrong.append((name, "told what is protected", told))
        wrong += [(name, *each) for each in judged(row, name, answer, error)]
        since.append(name)
        changes = error is None and name not in PURE
        if changes or name == last_before_names:
            wrong += disturbed(world, before, since)
            since, before = [], None if changes else before
    return wrong if before is None else [*wrong, *disturbed(world, before, since)]


def disturbed(world, before, since):
    if world.snapshot() != before:
        yield since, "changed what is protected"
    if leaks := world.leaks():
        yield since, "copied what is protected", leaks


def judged(row, name, answer, error):
    if row.kind == "inside":
        if name == "read" and (error is not None or answer["content"] != "inside"):
            yield "cannot read what is inside", str(error)
    elif (row.kind == "outside" or (row.kind == "link" and name not in NAMES)) and (
        error is None or error.code != "PATH_DENIED" or error.retryable
    ):
        yield "expected PATH_DENIED", str(error or answer)
    if error is not None and (
        error.retryable or error.code not in ("PATH_DENIED", "EXECUTION_ERROR", "VALIDATION_ERROR", "CONFLICT")
    ):
        yield "an error nobody expects", repr(error)


@pytest.mark.timeout(240)
def test_no_path_and_no_link_leads_out(fs, world, capsys):
    tried, escaped = 0, []
    with (world.out / "canary.txt").open() as canary:
        world.descriptor = canary.fileno()
        open_before = len(list(Path("/dev/fd").iterdir()))
        for number, row in enumerate(CORPUS):
            if "reads" in row.only:
                uses = [("allow", READS), ("deny", READS)]
            elif row.only == "allow":
                uses = [("allow", EVERY)]
            else:
                uses = [("allow", HALVES[number % 2]), ("deny", HALVES[1 - number % 2])]
            for rules, tries in uses[: 1 if "allow" in row.only else 2]:
                tried += len(tries)
                wrong = try_row(fs, world, row, rules, tries)
                escaped += [(rules, row.kind, row.path[:80], row.makes[:3], *each) for each in wrong]
        assert len(list(Path("/dev/fd").iterdir())) == open_before
    with capsys.disabled():
        print(f"\npath and link escapes: {len(CORPUS)} paths, {tried} attempts, {len(escaped)} escapes")  # noqa: T201
    assert escaped == []
    assert len(set(CORPUS)) == len(CORPUS) >= 200
