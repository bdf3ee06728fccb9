#!/usr/bin/env python3
"""Fails on an #include against the arrow, and on a CUDA #if outside the one file that may know.

Directions: core <- data <- model <- eval <- sched <- serve/cli; store stands on data. Models reach hardware
through the operators' headers (src/backend but for registry.h); kernels see only core, kernels/common and
src/backend; programs under src/cli see only the public headers. Usage: check_includes.py [REPOSITORY]. Prints one line a finding; exit 1 if any.
"""
import pathlib
import re
import sys

# room -> rooms (folder of the included path) that its files may include from, besides itself
ALLOWED = {
    "include/reel": {"reel"},
    "src/core": {"reel", "generated"},
    "src/backend": {"reel", "core", "operators", "registry", "generated"},
    "src/data": {"reel", "core", "kernels/common", "generated"},
    "src/model": {"reel", "core", "data", "kernels/common", "operators"},
    "src/eval": {"reel", "core", "data", "model", "kernels/common"},
    "src/store": {"reel", "core", "data"},
    "src/sched": {"reel", "core", "data", "model", "eval", "store"},
    "src/serve": {"reel", "core", "data", "model", "eval", "sched", "store", "kernels/common", "generated"},
    "src/cli": {"reel"},
    "kernels/common": set(),
    "kernels/cpu": {"reel", "core", "kernels/common", "operators", "registry"},
    "kernels/cuda": {"reel", "core", "kernels/common", "operators", "registry"},
}
# (file, included path): the places where the arrow is broken on purpose
EXCEPTIONS = {
    ("src/core/context.c", "backend/registry.h"),  # a context owns the backend it opened
    ("src/core/doctor.c", "backend/registry.h"),  # reel doctor lists the devices
    ("src/data/zip_reader.c", "reel_build.h"),  # whether libzip was found
}
# header -> rooms that may use the library behind it
LIBRARIES = {
    "jansson.h": {"src/core", "src/data", "src/model", "src/eval", "src/store", "src/sched", "src/serve", "src/cli"},
    "xxhash.h": {"src/core", "src/data", "src/model", "src/eval", "src/store", "src/serve"},
    "zip.h": {"src/data"},
    "sqlite3.h": {"src/store"},
    "microhttpd.h": {"src/serve"},
    "nettle/hmac.h": {"src/serve"},
    "cblas.h": {"src/core", "src/model", "src/eval", "kernels/cpu"},
}
CUDA_HEADER = re.compile(r"^(cuda|cublas|cusolver|curand|cub/|thrust/|cooperative_groups|mma)")
INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*([<\"])([^>\"]+)[>\"]", re.M)
CUDA_IF = re.compile(r"^[ \t]*#[ \t]*(?:if|ifdef|ifndef|elif)\b.*CUDA.*$", re.M)


def room_of(path, rooms):
    """The longest room that `path` (a file of the repository) lies in, or None."""
    matches = [room for room in rooms if path.startswith(room + "/")]
    return max(matches, key=len, default=None)


def included_room(name, quoted_in):
    """The room an included path belongs to, in the words of ALLOWED; None for a system header."""
    if name.startswith("reel/"):
        return "reel"
    if name == "reel_build.h":
        return "generated"
    if name.startswith("backend/"):
        return "registry" if name == "backend/registry.h" else "operators"
    if name.startswith("kernels/"):
        return "/".join(name.split("/")[:2])
    if "/" in name:
        return name.split("/")[0]
    return quoted_in  # a bare "name.h" lies beside the file


def check_file(path, text):
    """Yields (line, message) for each finding in one file."""
    room = room_of(path, ALLOWED)
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        bracket, name = match.groups()
        own = room.removeprefix("src/")
        if bracket == "<" and not name.startswith("reel/"):
            if name in LIBRARIES and room not in LIBRARIES[name]:
                yield line, f"{room} must not use <{name}>"
            if CUDA_HEADER.match(name) and room != "kernels/cuda":
                yield line, f"only kernels/cuda may use <{name}>"
            continue
        target = included_room(name, own)
        if target != own and target not in ALLOWED[room] and (path, name) not in EXCEPTIONS:
            yield line, f"{room} must not include \"{name}\""
    if path == "src/backend/registry.c" or room == "kernels/cuda":
        return
    for match in CUDA_IF.finditer(text):
        if room == "kernels/common" and "__CUDACC__" in match.group():
            continue  # code for host and device says which one it is compiled for
        yield text.count("\n", 0, match.start()) + 1, f"only src/backend/registry.c may ask: {match.group().strip()}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    files = [file for top in ("include", "src", "kernels") for file in sorted((root / top).rglob("*"))
             if file.suffix in (".c", ".h", ".cu", ".cuh")]
    findings = 0
    for file in files:
        path = file.relative_to(root).as_posix()
        if room_of(path, ALLOWED) is None:
            print(f"{path}:1: lies in no known room")
            findings += 1
            continue
        for line, message in check_file(path, file.read_text(encoding="utf-8")):
            print(f"{path}:{line}: {message}")
            findings += 1
    print(f"{len(files)} files, {findings} findings")
    return 1 if findings or not files else 0


if __name__ == "__main__":
    sys.exit(main())
