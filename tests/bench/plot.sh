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
# a column that says whose it is: 1 relay's, 2 another's, 3 nobody's (direct, the floor, the least).
rows() {
    awk -F '\t' -v measure="$1" -v at="$2" '
        $1 == measure && $2 == at && $3 !~ /^built / {
            whose = /\trelay/ ? 1 : /\t(direct|floor|least)/ ? 3 : 2
            name = $3
            sub(/^(relay|socat|nc.openbsd|ncat|s6-ioconnect)( \(|$)/, "& in tcpserver", name)
            sub(/ \( in tcpserver/, " in tcpserver (", name)
            sub(/^direct/, "no relay", name)
            sub(/^floor(, holding)?/, "launch floor", name)
            sub(/^least/, "the least relay", name)
            print "\"" name "\"", $5, $6, $7, whose
        }' "$results" | sort -t '"' -k 3,3"$3"
}

# The number of connections at which 1 MB has passed, and memory was measured.
held=$(awk -F '\t' '$1 == "memory_after" && $3 == "relay" { print $2; exit }' "$results")
rows setup_p50 1 nr >"$temp/setup"
for direction in up down both; do
    rows stream "$direction" n >"$temp/$direction"
done
# Those who were too slow for as many: at the most that they had.
rows_held() {
    awk -F '\t' -v OFS='\t' -v measure="$1" -v held="$held" '
        NR == FNR && $1 == measure && $2 <= held && $2 > most[$3] { most[$3] = $2 }
        NR != FNR && $1 == measure && $2 == most[$3] {
            if ($2 < held) $3 = $3 " (" $2 ")"
            $2 = "held"
            print
        }' "$results" "$results" >"$temp/held"
    results=$temp/held rows "$1" held nr
}
rows_held memory >"$temp/memory"
rows_held memory_after >"$temp/after"
for peer in direct floor,\ holding relay nc.openbsd s6-ioconnect socat HAProxy nginx\ stream; do
    # Not where only one round has come: they end where the time does.
    awk -F '\t' -v peer="$peer" '$1 == "growth" && $3 == peer {
        n = split($8, values, " ")
        if (n > most) most = n
        at[$2] = n
        row[$2] = $2 " " $5 " " $6 " " $7
    }
    END { for (i in at) if (2 * at[i] > most) print row[i] }' "$results" | sort -n >"$temp/growth $peer"
done
machine=$(sed -n 's/^# machine: //p' "$results")
kernel=$(sed -n 's/^# kernel: \([0-9.]*\).*/\1/p' "$results")
when=$(sed -n 's/^# date: \([0-9-]*\).*/\1/p' "$results")
rounds=$(awk -F '\t' '$1 == "setup_p50" && $3 == "relay" {
    n = split($8, values, " ")
    print n (n == 1 ? " round" : " rounds")
    exit
}' "$results")

cd "$temp" && gnuplot -e "machine='$machine, Linux $kernel, $when'; rounds='$rounds'; held=${held:-0}" \
    "$here/plot.gp" && sed -i 's|<title>Gnuplot</title>||' ./*.svg && mv ./*.svg "$directory" || exit 1
echo "plot.sh: setup.svg throughput.svg memory.svg growth.svg are in $directory"
