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
