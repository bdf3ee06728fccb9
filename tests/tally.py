"""Adds up what every runner of test.sh reports and prints the one line that counts.

    tally.py REPORT_DIR

REPORT_DIR holds steps.tsv (name, passed|failed|skipped, reason) and JUnit files: ctest-*.xml, pytest-*.xml. A test
program in C counts by the lines that it prints (`ok   NAME`, `FAIL NAME`, `skip NAME: reason`; see tests/test.h), or as
one test where it prints none. Exit status 1 when anything failed or nothing ran."""

import pathlib
import re
import sys
import xml.etree.ElementTree

LINE = re.compile(r"^(ok  |FAIL|skip) (\S.*)$", re.MULTILINE)


class Tally:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []

    def steps(self, path):
        for line in path.read_text().splitlines():
            name, result, reason = line.split("\t")
            if result == "passed":
                self.passed += 1
            else:
                (self.failed if result == "failed" else self.skipped).append(f"{name}: {reason}")

    def ctest(self, path):
        for case in xml.etree.ElementTree.parse(path).iter("testcase"):
            name = f"{path.stem.removeprefix('ctest-')} {case.get('name')}"
            output = case.findtext("system-out") or ""
            rows = LINE.findall(output)
            bad = case.find("failure") is not None
            if case.find("skipped") is not None:
                lines = [line for line in output.splitlines() if line.strip()]
                self.skipped.append(f"{name}: {lines[-1].removeprefix('skipped: ') if lines else 'no reason given'}")
                continue
            self.passed += sum(kind == "ok  " for kind, _ in rows)
            self.skipped += [f"{name} {what}" for kind, what in rows if kind == "skip"]
            fails = [f"{name} {what}" for kind, what in rows if kind == "FAIL"]
            if bad and not fails:
                fails = [f"{name}: {case.find('failure').get('message') or 'failed'}"]
            elif not bad and fails:
                fails.append(f"{name}: exit status 0 although it printed FAIL")
            self.failed += fails
            if not rows and not bad:
                self.passed += 1

    def pytest(self, path):
        which = path.stem.removeprefix("pytest-")
        for case in xml.etree.ElementTree.parse(path).iter("testcase"):
            name = f"{'' if which == 'cli' else which + ' '}{case.get('classname')}::{case.get('name')}"
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed.append(name)
            elif skipped is not None:
                self.skipped.append(f"{name}: {skipped.get('message')}")
            else:
                self.passed += 1


def main():
    tally, folder = Tally(), pathlib.Path(sys.argv[1])
    for path in sorted(folder.iterdir()):
        reader = {"steps.tsv": "steps"}.get(path.name)
        if path.suffix == ".xml":
            reader = path.name.split("-")[0]
        if reader:
            getattr(tally, reader)(path)
    for name in tally.skipped:
        print(f"skipped: {name}")
    for name in tally.failed:
        print(f"FAILED: {name}")
    print(f"{tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
