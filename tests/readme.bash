# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# What README.md's section Troubleshooting quotes, for the suites that make real
# programs say it. Loaded after helper.

# troubleshooting: that section.
troubleshooting() {
    sed -n '/^## Troubleshooting/,/^## [^T]/p' "$ROOT/README.md"
}

# quotations: what stands between backquotes in its tables, one a line, but for
# their columns "it is" and "do".
# shellcheck disable=SC2016 # for grep
quotations() {
    troubleshooting | awk -F'|' '
        !/^\|/ { header = 1; next }
        header {
            split("", skip)
            for (i = 1; i <= NF; i++) if ($i ~ /^ (it is|do) $/) skip[i] = 1
            header = 0
            next
        }
        { for (i = 1; i <= NF; i++) if (!(i in skip)) print $i }' |
        grep -o '`[^`]*`' | tr -d '`' | sort -u
}

# quoted KEY: the quotation that contains KEY, or is KEY, as an extended regular
# expression in which the … is anything. Fails where there is none, or several.
quoted() {
    local found
    found=$(quotations | grep -xF -e "$1") || found=$(quotations | grep -F -e "$1") || true
    if [[ -z $found || $found == *$'\n'* ]]; then
        echo "README.md, Troubleshooting: not one quotation with '$1', but: ${found:-none}" >&2
        return 1
    fi
    sed -e 's/[][\.*^$+?(){}|]/\\&/g' -e 's/…/.*/g' <<<"$found"
}

# says KEY FILE: waits until a line there is what is quoted.
says() {
    local regex
    regex=$(quoted "$1") && wait_for grep -aE -e "$regex" -- "$2"
}

# readme_command BEGINNING [PORT]: the command in that section that begins so, with
# this port in place of 8080.
readme_command() {
    troubleshooting | grep -m 1 "^    $1" | sed "s/^ *//; s/8080/${2-}/g"
}

# readme_blocks: what is indented in README.md: of each block every line, behind the
# block's number. One that is marked as not run has no number, but "-".
readme_blocks() {
    awk '
        /^    / {
            if (!inside) number = last ~ /\(not run by the tests\)/ ? "-" : ++n
            for (inside = 1; blanks > 0; blanks--) print number "\t"
            print number "\t" substr($0, 5)
            next
        }
        /^$/ { blanks += inside; next }
        { inside = blanks = 0; last = $0 }' "$ROOT/README.md"
}

# readme_block BEGINNING: the block whose first line begins so. Fails where there is
# none, or several.
readme_block() {
    local numbers
    numbers=$(readme_blocks | awk -F'\t' -v key="^$1" '!seen[$1]++ && $2 ~ key { print $1 }')
    if [[ -z $numbers || $numbers == *[!0-9]* ]]; then
        echo "README.md: not one block that begins with '$1', but: ${numbers:-none}" >&2
        return 1
    fi
    readme_blocks | sed -n "s/^$numbers\t//p"
}
