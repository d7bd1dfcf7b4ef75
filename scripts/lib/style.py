"""House rules that the formatter can't express: sizes, words and constructs. Prints one line a fault."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE_LINES = 400
TEST_FILE_LINES = 600
FUNCTION_LINES = 60
COLUMNS = 120

WORDS = re.compile(r"\b(TODO|FIXME|HACK)\b|\bfor now\b|\b(stub|stubs|stubbed)\b", re.I)
EVERYWHERE = [
    (re.compile(r"\btry!"), "try! hides a failure"),
    (re.compile(r"\bas!\s"), "a forced cast traps"),
    (re.compile(r"\bfatalError\("), "fatalError takes the service down"),
]
# The driver has threads of its own; elsewhere these stop a thread that others need.
OUTSIDE_THE_DRIVER = [
    (re.compile(r"\bThread\.sleep\(|\busleep\(|(?<![\w.])sleep\("), "a blocking sleep"),
    (re.compile(r"@unchecked\s+Sendable|nonisolated\(unsafe\)"), "unchecked concurrency outside the driver"),
]
SOURCES_ONLY = [
    (re.compile(r"^\s*(@\w+(\([^)]*\))?\s+)*(public|open)\s(?!import\b)"), "access is package, never public"),
    (re.compile(r"\bprint\("), "print belongs to the turnpike command and the style of logs to swift-log"),
]
CALLABLE = re.compile(r"^(\s*)(?:@\S+\s+)*(?:[a-z]+(?:\([a-z]+\))?\s+)*(?:func\b|init[?(<]|deinit\b|subscript\b)")
TYPE = re.compile(r"^\s*(?:@\w+\s+)*(?:package\s+)(?:indirect\s+|final\s+)*(?:struct|class|enum|protocol)\s+(\w+)")
BLOCK = re.compile(r"^(?:@\w+\s+)*(?:\w+\s+)*(?:struct|class|enum|protocol|extension)\s+([\w.]+)")


def without_literals(line: str) -> str:
    """The line without its string literals and its comment, so that words inside them are not taken for code."""
    return re.sub(r"//.*", "", re.sub(r'"(\\.|[^"\\])*"', '""', line))


def long_functions(lines: list[str]):
    index = 0
    while index < len(lines):
        match = CALLABLE.match(lines[index])
        if match:
            closing = match.group(1) + "}"
            for end in range(index + 1, len(lines)):
                if lines[end].rstrip() == closing:
                    if end - index + 1 > FUNCTION_LINES:
                        yield index + 1, end - index + 1
                    break
                if lines[end].strip() and len(lines[end]) - len(lines[end].lstrip()) < len(match.group(1)):
                    break
        index += 1


def swift_faults(path: pathlib.Path):
    lines = path.read_text(encoding="utf-8").splitlines()
    room = path.relative_to(ROOT).parts[1]
    folder = path.relative_to(ROOT).parts[0]
    bound = TEST_FILE_LINES if folder == "Tests" else FILE_LINES
    if len(lines) > bound:
        yield len(lines), f"{len(lines)} lines; the bound is {bound}"
    for start, length in long_functions(lines):
        yield start, f"a function of {length} lines; the bound is {FUNCTION_LINES}"
    for number, line in enumerate(lines, 1):
        code = without_literals(line)
        if len(line) > COLUMNS:
            yield number, f"{len(line)} columns; the bound is {COLUMNS}"
        if WORDS.search(line):
            yield number, "a word that promises later work"
        for pattern, why in EVERYWHERE:
            if pattern.search(code):
                yield number, why
        if folder == "Sources":
            for pattern, why in SOURCES_ONLY:
                if pattern.search(code) and not (room == "turnpike" and "print" in why):
                    yield number, why
        if room not in ("Postgres", "PostgresTests"):
            for pattern, why in OUTSIDE_THE_DRIVER:
                if pattern.search(code):
                    yield number, why


def inert_inlining(sources: list[pathlib.Path]):
    """Functions that say `@inlinable` in a type of the package that does not say `@usableFromInline`: the compiler
    accepts that, and neither inlines nor specialises them in other targets."""
    contents = {path: path.read_text(encoding="utf-8").splitlines() for path in sources}
    types: dict[str, bool] = {}
    for lines in contents.values():
        for before, line in zip([""] + lines, lines):
            if match := TYPE.match(line):
                types[match.group(1)] = "@usableFromInline" in before + line
    for path, lines in contents.items():
        block = ""
        for number, line in enumerate(lines, 1):
            if match := BLOCK.match(line):
                block = match.group(1).split(".")[-1]
            if "@inlinable" in line and not types.get(block, True):
                yield path, number, f"@inlinable does nothing here: {block} does not say @usableFromInline"


def main() -> int:
    faults = 0
    for path, number, why in inert_inlining(sorted((ROOT / "Sources").rglob("*.swift"))):
        faults += 1
        print(f"{path.relative_to(ROOT)}:{number}: {why}")
    for folder in ("Sources", "Tests", "bench"):
        for path in sorted((ROOT / folder).rglob("*.swift")):
            for number, why in swift_faults(path):
                faults += 1
                print(f"{path.relative_to(ROOT)}:{number}: {why}")
    return 1 if faults else 0


sys.exit(main())
