#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# The Makefile, in a copy of the tree: compilers, dependencies. And
# what is checked without being run: what linters say, and that program and documents
# name the same options.

load helper

setup() {
    tree=$BATS_TEST_TMPDIR/tree
    mkdir "$tree"
    tar -C "$ROOT" -c --exclude=./.git --exclude=./relay --exclude='*.o' --exclude=./tests/build --exclude=./build . |
        tar -C "$tree" -x
    cd "$tree" || return
    # make check passes its own on to make here.
    unset MAKEFLAGS MAKEOVERRIDES MFLAGS MAKELEVEL CC CFLAGS CPPFLAGS LDFLAGS
}

teardown() {
    stop_all
}

# --- what the tests have in common ---

# files: what is there, one a line.
files() {
    find . ! -type d -printf '%P\n' | sort
}

# assert_builds COMPILER KIND MAKE-ARGUMENT...: everything, without a warning,
# with the flags that the project has chosen; it says which compiler, and runs.
assert_builds() {
    local compiler=$1 kind=$2 flag
    shift 2
    run make "$@"
    assert_success
    assert_line "relay: built with $compiler, $kind"
    refute_output --partial warning
    for flag in -std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes; do
        assert_equal "$(grep -c -- " -c -o .* $flag\| $flag .* -c -o " <<<"$output") $flag" "2 $flag"
    done
    run ./relay --version
    assert_success
}

# assert_compiles COMPILER: at every optimization, where other warnings show.
assert_compiles() {
    local level
    for level in -O0 -O1 -O2 -O3 -Os; do
        make clean
        assert_builds "$1" "$2" CC="$1" CFLAGS="$level -Werror -pedantic-errors"
    done
}

# repository: makes one of the tree.
repository() {
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
    git init -q .
    git add -A
}

is_static() {
    [[ $(ldd ./relay 2>&1) == *'not a dynamic executable'* ]]
}

# --- compilers ---

@test "gcc has nothing to say" {
    assert_compiles gcc "the system's C library"
}

@test "clang has nothing to say" {
    assert_compiles clang "the system's C library"
}

@test "musl-gcc has nothing to say" {
    assert_compiles musl-gcc static
}

@test "make takes musl-gcc where it is there: a static program" {
    assert_builds musl-gcc static
    is_static
}

@test "make takes the system's compiler where musl-gcc is not there" {
    local directory
    mkdir "$BATS_TEST_TMPDIR/bin"
    for directory in /bin /usr/bin /sbin /usr/sbin /usr/local/bin; do
        find "$directory/" -maxdepth 1 ! -type d ! -name 'musl-gcc' \
            -exec ln -sf -t "$BATS_TEST_TMPDIR/bin" {} +
    done
    PATH=$BATS_TEST_TMPDIR/bin assert_builds cc "the system's C library"
    run ! is_static
}

@test "make takes the compiler that it is told, by argument or environment" {
    assert_builds cc "the system's C library" CC=cc
    run ! is_static
    make clean
    CC=clang assert_builds clang "the system's C library"
    make clean
    assert_builds "$(command -v musl-gcc)" static CC="$(command -v musl-gcc)"
    is_static
}

@test "make leaves room for flags of a packager's own" {
    run make CC=gcc CPPFLAGS=-DCPPFLAG_GIVEN CFLAGS='-O1 -g' LDFLAGS=-Wl,-z,now
    assert_success
    assert_equal "$(grep -c -e ' -DCPPFLAG_GIVEN -O1 -g .*-c ' -e '-c .* -DCPPFLAG_GIVEN -O1 -g' <<<"$output")" 2
    assert_line --partial -Wl,-z,now
}

# --- dependencies ---

@test "make -j8 builds a clean tree, each time" {
    local i
    for i in 1 2 3 4 5 6 7 8; do
        make clean
        run make -j8
        assert_success
        run ./relay --version
        assert_success
        assert_equal "$i: $(make -q && echo 'nothing to do')" "$i: nothing to do"
    done
}

# rebuilt FILE: the objects that make compiles once FILE is newer, in a line.
rebuilt() {
    sleep 0.01 # file times are those of the last clock tick
    touch "$1"
    make | sed -n 's/.* -c -o \([a-z]*\.o\) .*/\1/p' | sort | tr '\n' ' '
    make -q || echo 'and make is not done'
}

@test "a file that changes rebuilds what is made of it, and no more" {
    make
    make -q
    assert_equal "$(rebuilt proxyhdr.h)" 'proxyhdr.o relay.o '
    assert_equal "$(rebuilt proxyhdr.c)" 'proxyhdr.o '
    assert_equal "$(rebuilt relay.c)" 'relay.o '
    assert_equal "$(rebuilt Makefile)" 'proxyhdr.o relay.o '
    assert_equal "$(rebuilt README.md)" ''
    rm relay
    run make
    assert_success
    assert [ -x relay ]
}

@test "another compiler or flag rebuilds all, the same ones nothing" {
    make
    assert_equal "$(make -n CPPFLAGS=-DNO_SANDBOX | grep -c -- '-c -o')" 2
    make CC=gcc
    run ! is_static
    make
    is_static
    make -q
}

@test "make clean leaves what was there before make" {
    local before
    before=$(files)
    assert_equal "$(grep -cx 'relay.c\|tests/usage.bats\|README.md' <<<"$before")" 3
    make
    mkdir -p build tests/build && touch build/something tests/build/something
    assert [ "$(files)" != "$before" ]
    make clean
    assert_equal "$(files)" "$before"
    make clean
}

@test "git ignores what make makes" {
    repository
    make
    mkdir -p build tests/build && touch build/something tests/build/something
    assert_equal "$(git status --porcelain | grep -v '^A ')" ''
}

# --- without running it ---

# lints LINTER: it has nothing to say.
lints() {
    run sh tests/lint.sh "$1"
    assert_success
    refute_output
}

@test "cppcheck has nothing to say" {
    lints cppcheck
}

@test "clang-tidy has nothing to say" {
    run sh tests/lint.sh clang_tidy         # it counts what it does not show
    assert_success
}

@test "gcc's analyzer has nothing to say" {
    lints gcc
}

@test "shellcheck has nothing to say" {
    local script
    lints shellcheck
    # It reads each kind of script.
    rm tests/[c-z]*.bats
    for script in .ci/run examples/demo.sh tests/run.sh tests/helper.bash tests/build.bats; do
        # shellcheck disable=SC2016 # is what is to be found
        echo 'echo $unquoted' >>"$script"
    done
    run sh tests/lint.sh shellcheck
    assert_failure
    for script in .ci/run examples/demo.sh tests/run.sh tests/helper.bash tests/build.bats; do
        assert_line --regexp "^In \./$script line [0-9]+:$"
    done
}

@test "mandoc has nothing to say about the manual page" {
    lints mandoc
}

@test "make format lays out the lines that have changed, and no others" {
    repository
    git -c user.name=tests -c user.email=tests@example.org commit -qm 'As it is'
    printf 'int more( int a )\n{\n    return a+1 ;\n}\n' >>relay.c
    run make format
    assert_success
    run git diff --unified=0 relay.c
    assert_equal "$(grep '^[-+][^-+]' <<<"$output")" $'+int more(int a)\n+{\n+\treturn a + 1;\n+}'
}

# The options that each place names: one a line, as in "-b --bind=".

options_of_the_source() {
    sed -nE "s/.*\{ \"([a-z0-9-]+)\", ([a-z]+)_argument, NULL, '(.)' \}.*/-\3 --\1 \2/p" relay.c |
        sed -e 's/ required$/=/' -e 's/ no$//' | sort
}

options_of_the_help() {
    "$RELAY" --help | sed -nE 's/^  (-.), --([a-z0-9-]+)(=?).*/\1 --\2\3/p' | sort
}

options_of_the_manual() {
    mandoc -Tascii relay.1 | col -bx |
        sed -nE 's/^     (-.)( [a-z]+)?, --([a-z0-9-]+)(=?).*/\1 --\3\4/p' | sort
}

options_of_the_readme() {
    # shellcheck disable=SC2016 # the table's own marks
    sed -nE 's/^\| `(-.)( [A-Z=]+)?` \| `--([a-z0-9-]+)(=?)[A-Z=]*` \|.*/\1 --\3\4/p' README.md | sort
}

# letters REGEX: the short options of the source's lines that match, in a row.
letters() {
    options_of_the_source | grep "$1" | cut -c 2 | sort | tr -d '\n'
}

# in_a_row: its input's letters and digits, sorted, without anything between.
in_a_row() {
    grep -o '[A-Za-z0-9]' | sort | tr -d '\n'
}

@test "the source, --help, the manual page and the README name the same options" {
    local options
    options=$(options_of_the_source)
    assert_regex "$options" '^-0 --no-header.*-b --bind=.*-x --tlv=$'
    assert_equal "$(options_of_the_help)" "$options"
    assert_equal "$(options_of_the_manual)" "$options"
    assert_equal "$(options_of_the_readme)" "$options"
}

@test "the short options are those of getopt and of the synopsis too" {
    local short synopsis with without
    with=$(letters '=$') without=$(letters '[^=]$')
    assert_regex "$with/$without" '^.*b.*/0.*v'

    short=$(sed -n 's/.*shorts\[\] = ":\([^"]*\)".*/\1/p' relay.c)
    assert_equal "$(grep -o '.:' <<<"$short" | in_a_row)" "$with"
    assert_equal "$(in_a_row <<<"${short//?:/}")" "$without"

    synopsis=$(mandoc -Tascii relay.1 | col -bx | sed -n '/^SYNOPSIS/,/^DESCRIPTION/p')
    assert_equal "$(grep -oE '\[-. [a-z]+\]' <<<"$synopsis" | cut -c 3 | in_a_row)" "$with"
    assert_equal "$(grep -oE '\[-[^] ]+\]|-. \| -.' <<<"$synopsis" | in_a_row)" "$without"
}

@test "what the README and the examples link to is there" {
    local file link
    while IFS=: read -r file link; do
        link=${link#*](}
        link=${link%%[)#]*}
        [[ -z $link || $link == *://* || -e $ROOT/$(dirname "$file")/$link ]] || echo "$file: $link"
    done < <(cd "$ROOT" && git ls-files '*.md' | xargs grep -o '\](\([^)]*\))' /dev/null) >"$BATS_TEST_TMPDIR/missing"
    run cat "$BATS_TEST_TMPDIR/missing"
    assert_output ''
    # And to its own sections.
    run comm -23 <(grep -o '](#[^)]*)' "$ROOT/README.md" | tr -d '](#)' | sort -u) \
        <(sed -n 's/^##* //p' "$ROOT/README.md" | tr '[:upper:] ' '[:lower:]-' | tr -cd 'a-z0-9\n-' | sort)
    assert_output ''
}

@test "the tests that the README names for what nobody can do are there" {
    local claim suite name
    while read -r claim; do
        suite=${claim%%:*}
        [[ $claim == *\** ]] || echo "$suite: no test is named"
        while read -r name; do
            grep -qF "@test \"${name% …}" "$ROOT/tests/$suite" || echo "$suite: $name"
        done < <(grep -o '\*[^*]*\*' <<<"$claim" | tr -d '*')
    done < <(sed -n '/^## Security/,/^## /p' "$ROOT/README.md" | grep -o '[a-z-]*\.bats[^|;]*') >"$BATS_TEST_TMPDIR/missing"
    run cat "$BATS_TEST_TMPDIR/missing"
    assert_output ''
}

@test "each example is in the README, or in the README of its directory" {
    local file missing=''
    while read -r file; do
        case $file in
        *README.md | examples/chains/* | examples/behind/* | examples/pipelines/*) continue ;;
        esac
        # A directory with a README is meant as a whole.
        [[ ! -e $ROOT/${file%/*}/README.md ]] || file=${file%/*}/README.md
        grep -qF -e "${file/\/log\//\/}" -e "(${file%/*})" "$ROOT/README.md" || missing+="$file "
    done < <(cd "$ROOT" && git ls-files examples)
    assert_equal "$missing" ''
}
