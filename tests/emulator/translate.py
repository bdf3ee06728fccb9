#!/usr/bin/env python3
"""Turns CUDA C++ into C++ that a host compiler takes together with tests/emulator/include.

    translate.py SOURCE OUT

Only what is no C++ at all is rewritten, and no line moves, so that messages and debuggers point at SOURCE:

    kernel<T><<<grid, block, shared, stream>>>(a, b);  ->  emulated_kernel("kernel<T>", kernel<T>, grid, ...)(a, b);
    extern __shared__ float4 room[];                   ->  a pointer to the block's dynamic shared memory
    __shared__ float a[N], b[N];                       ->  references into the block's memory of this declaration
    __launch_bounds__(N, M)                            ->  a check of the block's size when the kernel starts
    asm volatile("prefetch..." ::"l"(address))         ->  (void)(address)

Other inline PTX stays as it is and does not compile: such code offers another way under REEL_CUDA_EMULATED."""

import pathlib
import re
import sys

OPENING, CLOSING = "([{", ")]}"


def fail(path, text, at, message):
    sys.exit(f"{path}:{text.count(chr(10), 0, at) + 1}: error: {message}")


def masked(text):
    """`text` with comments and literals blanked out, character by character."""
    pattern = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def closing_of(mask, at):
    """The place of the bracket that closes the one at `at`, or -1."""
    depth = 0
    for i in range(at, len(mask)):
        depth += (mask[i] in OPENING) - (mask[i] in CLOSING)
        if depth == 0:
            return i
    return -1


def split_at_commas(text, mask):
    """The parts of `text` between commas that stand in no bracket."""
    parts, depth, begin = [], 0, 0
    for i, char in enumerate(mask):
        depth += (char in OPENING) - (char in CLOSING)
        if char == "," and depth == 0:
            parts.append(text[begin:i])
            begin = i + 1
    return parts + [text[begin:]]


def callee_begin(mask, end):
    """Where the expression that ends before `end` begins: a name, with or without template arguments."""
    at = end
    while at > 0 and mask[at - 1].isspace():
        at -= 1
    if at > 0 and mask[at - 1] == ">":
        depth = 0
        while at > 0:
            at -= 1
            depth += (mask[at] == ">") - (mask[at] == "<")
            if depth == 0:
                break
    while at > 0 and (mask[at - 1].isalnum() or mask[at - 1] in "_:"):
        at -= 1
    return at


def launches(path, text, mask):
    for match in re.finditer(r"<<<", mask):
        begin, end = callee_begin(mask, match.start()), mask.find(">>>", match.end())
        callee = text[begin:match.start()].strip()
        if not callee or end < 0:
            fail(path, text, match.start(), "cannot read this launch")
        name = " ".join(callee.split())
        yield begin, end + 3, f'emulated_kernel("{name}", {callee}, {text[match.end():end]})'


def statement_of(mask, at):
    """Begin and end (past the semicolon) of the declaration around `at`."""
    begin = max(mask.rfind(char, 0, at) for char in ";{}") + 1
    while mask[begin].isspace():
        begin += 1
    depth = 0
    for end in range(at, len(mask)):
        depth += (mask[end] in OPENING) - (mask[end] in CLOSING)
        if mask[end] == ";" and depth == 0:
            return begin, end + 1
    return begin, -1


def name_of(declarator):
    """The name that a declarator introduces: the last word before its sizes."""
    words = re.findall(r"[A-Za-z_]\w*", re.sub(r"\balignas\s*\([^)]*\)", "", declarator).split("[")[0])
    return words[-1]


def shared_declarations(path, text, mask):
    for number, match in enumerate(re.finditer(r"\b__shared__\b", mask)):
        begin, end = statement_of(mask, match.start())
        if end < 0 or "=" in mask[begin:end]:
            fail(path, text, match.start(), "cannot read this declaration of shared memory")
        words = re.sub(r"\b(extern|static|__shared__)\b", lambda word: " " * 0, text[begin:end - 1])
        extern = re.search(r"\bextern\b", mask[begin:end])
        if extern:
            plain = re.sub(r"\b(alignas|__align__)\s*\([^)]*\)", "", words)
            declared = re.fullmatch(r"\s*(.+?)\s*\b(\w+)\s*\[\s*\]\s*", plain, re.S)
            if not declared:
                fail(path, text, begin, "dynamic shared memory is declared as `extern __shared__ TYPE NAME[];`")
            kind, name = declared.groups()
            yield begin, end, f"{kind} *const {name} = ({kind} *)emulated_dynamic_shared();"
            continue
        tag = f"emulated_shared_{number}"
        names = [name_of(part) for part in split_at_commas(words, masked(words))]
        references = " ".join(f"auto &{name} = {tag}_at.{name};" for name in names)
        yield begin, end, (f"struct {tag} {{ {words}; }}; "
                           f'auto &{tag}_at = *emulated_static_shared<{tag}>("{names[0]}"); {references}')


def launch_bounds(path, text, mask):
    for match in re.finditer(r"\b__launch_bounds__\s*\(", mask):
        close = closing_of(mask, match.end() - 1)
        threads = split_at_commas(text[match.end():close], mask[match.end():close])[0]
        yield match.start(), close + 1, "\n" * text.count("\n", match.start(), close + 1)
        parameters = mask.find("(", close + 1)
        body = re.compile(r"\s*\{").match(mask, closing_of(mask, parameters) + 1) if parameters >= 0 else None
        if body:
            yield body.end(), body.end(), f" emulated_bounds({' '.join(threads.split())});"


def prefetches(path, text, mask):
    for match in re.finditer(r"\basm\s+volatile\s*\(", mask):
        close = closing_of(mask, match.end() - 1)
        operand = re.match(r'\s*"prefetch[^"]*"\s*::\s*"l"', text[match.end():close])
        if operand:
            yield match.start(), close + 1, f"(void){text[match.end() + operand.end():close]}"


def keywords(path, text, mask):
    for match in re.finditer(r"\b__noinline__\b", mask):
        yield match.start(), match.end(), "__attribute__((noinline))"


def translate(path, text):
    mask = masked(text)
    edits = []
    for find in (launches, shared_declarations, launch_bounds, prefetches, keywords):
        edits += find(path, text, mask)
    out, at = [], 0
    for begin, end, replacement in sorted(edits):
        if begin < at:
            fail(path, text, begin, "constructs overlap that the translator knows one by one")
        out += [text[at:begin], replacement]
        at = end
    return f'#include <cuda_runtime.h>\n#line 1 "{path}"\n' + "".join(out) + text[at:]


def main():
    source, out = map(pathlib.Path, sys.argv[1:3])
    text = translate(source.as_posix(), source.read_text(encoding="utf-8"))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
