#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# sh tests/lint.sh [LINTER...]: what is checked without being run, by the linters named or
# by all, until one finds something. tests/run.sh installs them, tests/build.bats asks them.
set -eu
cd "$(dirname "$0")/.."

# Of the tests and the examples.
other_sources() {
    find tests examples -name '*.c' -not -path 'tests/build/*' | sort
}

# By their names, or by their first lines.
scripts() {
    {
        find . -type f \( -name '*.sh' -o -name '*.bash' -o -name '*.bats' \)
        grep -rlE '^#! ?/.*[/ ](sh|bash|dash|bats)$' --exclude-dir=.git --exclude-dir=build .
    } | grep -v -e '^\./build/' -e '^\./tests/build/' | sort -u
}

cppcheck_says() {
    # What cppcheck cannot find are the C library's own headers.
    cppcheck -q --std=c11 -D_GNU_SOURCE -D__linux__ -D__x86_64__ --error-exitcode=1 -I . \
        --enable=warning,style,performance,portability --suppress=missingIncludeSystem "$@"
}

lint_cppcheck() {
    cppcheck_says relay.c proxyhdr.c
    # The tests' variables stand at the top of a function, and what is in a table is read
    # by its address.
    # shellcheck disable=SC2046 # a list of words
    cppcheck_says --suppress=variableScope --suppress=unreadVariable $(other_sources)
}

# at_once COMMAND...: with the words of each line of its input, as many as there are cores.
at_once() {
    xargs -L 1 -P "$(nproc)" "$@"
}

# clang_tidy_says MORE-CHECKS: of the sources in its input. Each by itself: behind another,
# vprintf's va_list is not understood.
clang_tidy_says() {
    # Left out: parameters of one type side by side, which C cannot tell apart;
    # Annex K's functions, which no libc here has; the results of printf and
    # close, which nobody could do anything about.
    # shellcheck disable=SC2016 # for the inner shell
    at_once sh -c 'clang-tidy -quiet -warnings-as-errors="*" -checks="$0" "$1" -- -std=c11 -D_GNU_SOURCE -I.' \
        "-*,bugprone-*,clang-analyzer-*,cert-*,misc-*,-bugprone-easily-swappable-parameters,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling,-cert-err33-c$1"
}

lint_clang_tidy() {
    printf '%s\n' relay.c proxyhdr.c | clang_tidy_says ''
    # In the tests: a block of no byte is what is wanted, so that one too many is noticed; a
    # table's fields are in the order in which they are read; headers end without a NUL; and
    # numbers and texts come from the tests themselves.
    other_sources | clang_tidy_says ,-clang-analyzer-optin.portability.UnixAPI,-clang-analyzer-optin.performance.Padding,-bugprone-not-null-terminated-result,-cert-err34-c,-clang-analyzer-security.insecureAPI.strcpy
}

lint_gcc() {
    {
        # -O0 is left out: there it loses sight of what is in a union, and says so.
        for level in -Os -O1 -O2; do
            for source in relay.c proxyhdr.c $(other_sources); do
                echo "$source $level"
            done
        done
        echo relay.c -Os -DPORTABLE
        echo relay.c -Os -DNO_SANDBOX
    } | at_once gcc -std=c11 -D_GNU_SOURCE -pthread -I. -fanalyzer -Wall -Wextra -Werror -c -o /dev/null
}

lint_shellcheck() {
    # shellcheck disable=SC2046 # a list of words
    shellcheck -x -P SCRIPTDIR $(scripts)
}

lint_mandoc() {
    mandoc -Tlint -W warning relay.1
    # Matters of style too; which other pages are installed is not one.
    if mandoc -Tlint relay.1 2>&1 | grep -v -e 'mandoc\.db' -e 'referenced manual not found'; then
        return 1
    fi
}

[ $# -gt 0 ] || set -- shellcheck mandoc cppcheck clang_tidy gcc
for linter; do
    "lint_$linter"
done
