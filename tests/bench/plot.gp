# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Run by plot.sh, which makes the files and sets machine, rounds and held.

set encoding utf8
set terminal svg size 860,520 font "sans-serif,14" background rgb "#ffffff"
set style fill solid 1.0 noborder
set border 1 lc rgb "#888888"
set grid xtics lc rgb "#dddddd" lt 1
set tics nomirror scale 0.4 textcolor rgb "#222222"
set key off
set bars 0.5
set label 1 machine." · blue: relay, sand: the limits, grey: others · bars: medians of ".rounds.", lines: least and most" \
    at screen 0.985,0.03 right font ",11" textcolor rgb "#666666"
color(whose) = whose == 1 ? 0x1a6fb5 : whose == 2 ? 0xb9c2cb : 0xe3c98a
top(file) = int(system("wc -l < ".file)) - 0.4
most(file) = real(system("sed 's/.*\" //' ".file." | awk '$3 > m { m = $3 } END { print m + 0.001 }'"))
set bmargin 5
set lmargin 26

# Each row of the file a bar from left to right, on a scale that begins at `from`.
bars = 'plot FILE using 2:0:(from):2:($0-0.36):($0+0.36):(color($5)):yticlabels(1) with boxxyerror lc rgb variable, \
    FILE using 2:0:3:4 with xerrorbars pt 0 lw 1.2 lc rgb "#333333", \
    FILE using 4:0:(sprintf(DIGITS, $2)) with labels left offset 0.8,0 font ",12" textcolor rgb "#222222"'

set output "setup.svg"
set title "Set-up: from connect to the first byte back (p50)"
set xlabel "µs, logarithmic: shorter is better"
set logscale x
from = 20
FILE = "setup"; DIGITS = "%.0f"
longest = most(FILE)
set xrange [from:longest * 3]
set yrange [-0.6:top(FILE)]
eval bars
unset logscale x

set output "throughput.svg"
set terminal svg size 1500,520
set multiplot layout 1,3 title "Throughput of one connection" font ",15"
set xlabel "GB/s: longer is better"
from = 0
set xtics 1
DIGITS = "%.2f"
do for [direction in "up down both"] {
    set title direction eq "up" ? "up: client to backend" : direction eq "down" ? "down: backend to client" : "both at once, each way"
    FILE = direction
    longest = most(FILE)
    set xrange [0:longest * 1.15]
    set yrange [-0.6:top(FILE)]
    eval bars
}
unset multiplot

set output "memory.svg"
set terminal svg size 1120,520
set multiplot layout 1,2 title "Memory of an idle connection, the kernel's included, at ".held." connections" font ",15"
set xlabel "KiB, logarithmic: shorter is better"
set logscale x
set xtics autofreq
from = 2
DIGITS = "%.0f"
do for [file in "memory after"] {
    set title file eq "memory" ? "before anything has passed" : "after 1 MB each way"
    FILE = file
    longest = most(FILE)
    set xrange [from:longest * 4]
    set yrange [-0.6:top(FILE)]
    eval bars
}
unset multiplot

reset
set encoding utf8
set terminal svg size 860,480 font "sans-serif,14" background rgb "#ffffff"
set output "growth.svg"
set title "Set-up of one more connection, with others open and idle"
set label 1 machine." · medians of ".rounds \
    at screen 0.985,0.03 right font ",11" textcolor rgb "#666666"
set bmargin 5
set border 3 lc rgb "#888888"
set grid lc rgb "#dddddd" lt 1
set tics nomirror scale 0.4
set logscale xy
set xlabel "connections already open"
set ylabel "p50 in µs"
set autoscale x
set key outside right textcolor rgb "#222222"
PEERS = "'socat' 'nc.openbsd' 's6-ioconnect' 'relay' 'floor, holding' 'nginx stream' 'HAProxy' 'direct'"
NAMES = "'socat' 'nc.openbsd' 's6-ioconnect' 'relay' 'launch floor' 'nginx stream' 'HAProxy' 'no relay'"
COLORS = "#c08a3e #8a6fb0 #5d9a5d #1a6fb5 #d9b44a #999999 #444444 #bbbbbb"
plot for [i=1:8] "growth ".word(PEERS, i) using 1:2 with linespoints pt 7 ps 0.6 \
    lw (i == 4 ? 3 : 1.6) lc rgb word(COLORS, i) title word(NAMES, i)
