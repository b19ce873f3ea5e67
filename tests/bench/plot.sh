#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# sh tests/bench/plot.sh [RESULTS [DIRECTORY]]: draws what bench.py measured: setup.svg,
# throughput.svg, memory.svg and growth.svg, beside the results.

here=$(cd "$(dirname "$0")" && pwd) || exit 1
# shellcheck source=tests/need.sh
. "$here/../need.sh"
need gnuplot=gnuplot-nox

results=${1:-$here/results.tsv}
directory=${2:-$(dirname "$results")}
[ -e "$results" ] || { echo "plot.sh: $results is not there: run make bench first" >&2; exit 1; }
temp=$(mktemp -d) || exit 1
trap 'rm -rf "$temp"' EXIT

# What the bars of one picture need, the best at the top: "NAME" MEDIAN LEAST MOST, and
# a column that says whose it is: 1 relay's, 2 another's, 3 nobody's (direct, the floor).
rows() {
    awk -F '\t' -v measure="$1" -v at="$2" '
        $1 == measure && $2 == at {
            whose = /\trelay/ ? 1 : /\t(direct|floor)/ ? 3 : 2
            name = $3
            if (name == "relay") name = "relay in tcpserver"
            if (name ~ /^(socat|nc.openbsd|ncat|s6-ioconnect)$/) name = name " in tcpserver"
            if (name == "direct") name = "no relay"
            if (name ~ /^floor/) name = "launch floor"
            print "\"" name "\"", $5, $6, $7, whose
        }' "$results" | sort -t '"' -k 3,3"$3"
}

# The number of connections at which 1 MB has passed, and memory was measured.
held=$(awk -F '\t' '$1 == "memory_after" && $3 == "relay" { print $2; exit }' "$results")
rows setup_p50 1 nr >"$temp/setup"
for direction in up down; do
    rows stream "$direction" n >"$temp/$direction"
done
rows memory "${held:-0}" nr >"$temp/memory"
rows memory_after "${held:-0}" nr >"$temp/after"
for peer in direct floor,\ holding relay nc.openbsd s6-ioconnect socat HAProxy nginx\ stream; do
    awk -F '\t' -v peer="$peer" '$1 == "growth" && $3 == peer { print $2, $5, $6, $7 }' "$results" |
        sort -n >"$temp/growth $peer"
done
machine=$(sed -n 's/^# machine: //p' "$results")
kernel=$(sed -n 's/^# kernel: \([0-9.]*\).*/\1/p' "$results")
when=$(sed -n 's/^# date: \([0-9-]*\).*/\1/p' "$results")
rounds=$(awk -F '\t' '$1 == "setup_p50" && $3 == "relay" { print split($8, values, " "); exit }' "$results")

cd "$temp" && gnuplot -e "machine='$machine, Linux $kernel, $when'; rounds=${rounds:-0}; held=${held:-0}" \
    "$here/plot.gp" && mv ./*.svg "$directory" || exit 1
echo "plot.sh: setup.svg throughput.svg memory.svg growth.svg are in $directory"
