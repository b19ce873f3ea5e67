#!/usr/bin/env python3
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
"""Which lines of relay.c and proxyhdr.c the tests have run, and which not.

coverage.py DIRECTORY
    DIRECTORY and tests/build/asan have what gcov has counted (*.gcda), the latter what
    it counted by (*.gcno). Prints a figure for each file, and the lines that were not run. Fails
    where tests/coverage.txt does not name one of them, or names what is no line, and
    where a figure is below what is expected here.
"""
import collections
import glob
import json
import os
import shutil
import subprocess
import sys

EXPECTED = {"relay.c": 95, "proxyhdr.c": 100}       # per cent, the named ones not counted as run
TESTS = os.path.dirname(os.path.abspath(__file__))


def counts(directory):
    """How often each line has run: {file: {number: [count, function]}}."""
    lines = {name: {} for name in EXPECTED}
    build = TESTS + "/build/asan"
    for notes in glob.glob(build + "/*.gcno"):
        shutil.copy(notes, directory)
    for data in glob.glob(directory + "/*.gcda") + glob.glob(build + "/*.gcda"):
        report = subprocess.run(["gcov", "--json-format", "--stdout", data],
                                cwd=os.path.dirname(data), stdout=subprocess.PIPE, check=True).stdout
        for part in report.splitlines():
            for file in json.loads(part)["files"]:
                if file["file"] in lines:
                    for line in file["lines"]:
                        known = lines[file["file"]].setdefault(
                            line["line_number"], [0, line.get("function_name", "")])
                        known[0] += line["count"]
    return lines


def named():
    """What tests/coverage.txt says: how many lines there are of (file, function, text)."""
    with open(TESTS + "/coverage.txt", encoding="utf-8") as file:
        return collections.Counter(
            tuple(line.rstrip("\n").split(": ", 2)) for line in file if line.strip() and line[0] != "#")


def main():
    good, known, lines = True, named(), counts(sys.argv[1])
    for name, found in lines.items():
        with open(f"{TESTS}/../{name}", encoding="utf-8") as file:
            source = [line.strip() for line in file]
        there = collections.Counter((name, function, source[number - 1]) for number, (_, function) in found.items())
        missed = [(number, (name, function, source[number - 1]))
                  for number, (count, function) in sorted(found.items()) if not count]
        unnamed = [line for line in missed if line[1] not in known]
        share = 100 * (1 - len(missed) / len(found)) if found else 0
        print(f"# coverage: {share:.1f} % of the {len(found)} lines of {name}, all but {len(missed)}")
        for number, (_, function, text) in missed:
            if (name, function, text) not in known:
                print(f"# not run, nor in tests/coverage.txt: {name}:{number} {function}: {text}")
        for line in known:
            if line[0] == name and line not in there:
                print(f"# in tests/coverage.txt, but no such line: {': '.join(line)}")
                good = False
        good = good and not unnamed and share >= EXPECTED[name]
    sys.exit(not good)


if __name__ == "__main__":
    main()
