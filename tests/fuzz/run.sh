#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# sh tests/fuzz/run.sh SECONDS [TARGET...]: installs what fuzzing needs, builds, and
# runs each target, or those that are named, for so long. Exits 1 where one has found
# something: the input lies beside the target then, and shows it again when the target
# is given it as its argument.
#
# Inputs that reach something new are kept in tests/build/fuzz/corpus, or $FUZZ_CORPUS:
# the next run begins with them, and with the seeds, tests/fuzz/corpus.

here=$(cd "$(dirname "$0")" && pwd) || exit 1
# shellcheck source=tests/need.sh
. "$here/../need.sh"
cd "$here/../.." || exit 1

need make=make clang=clang /usr/lib/llvm-14/lib/clang/14.0.6/lib/linux=libclang-rt-14-dev

seconds=${1:?how many seconds for each target}
shift
[ $# -gt 0 ] || set -- parse tlv options environment connection
build=tests/build/fuzz

# longest TARGET: how many bytes an input may have.
longest() {
    case $1 in
    parse) echo 66000 ;;
    tlv | connection) echo 400 ;;
    *) echo 4000 ;;
    esac
}

# fuzz TARGET: prints what libFuzzer tells, and a last line.
fuzz() {
    dictionary=tests/fuzz/$1.dict
    [ ! -e "$dictionary" ] || set -- "$1" "-dict=$dictionary"
    mkdir -p "${FUZZ_CORPUS:-$build/corpus}/$1"
    {
        # shellcheck disable=SC2046 # an option, or none
        "$build/$1" -max_total_time="$seconds" -max_len="$(longest "$1")" -print_final_stats=1 \
            -artifact_prefix="$build/$1-" $([ $# -lt 2 ] || echo "$2") \
            "${FUZZ_CORPUS:-$build/corpus}/$1" "tests/fuzz/corpus/$1" 2>&1
        echo "exit $?"
    } | {
        status=1 edges='?' all='?' runs=0
        while IFS= read -r line; do
            case $line in
            'exit '*) status=${line#exit } ; continue ;;
            *'inline 8-bit counters)'*) all=${line#*modules *(} ; all=${all%% *} ;;
            stat::number_of_executed_units:*) runs=${line##* } ;;
            *' cov: '*) edges=${line#* cov: } ; edges=${edges%% *} ;;
            esac
            printf '%s\n' "$line"
        done
        [ "$status" = 0 ] || echo "$1: FAILED with status $status"
        echo "$1: $runs executions, $edges of $all edges, $seconds s"
        [ "$status" = 0 ]
    }
}

for target; do
    make -s "$build/$target" || exit 1
done
failed=0
for target; do
    fuzz "$target" || failed=1
done
exit "$failed"
