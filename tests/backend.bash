# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Real backends behind tcpserver and relay. Loaded after helper.
#
# shellcheck disable=SC2034 # set here, for the suites

# As users run them: not as root. Where root runs the tests, they are nobody.
as_user=() me=$(id -un)
[[ $(id -u) != 0 ]] || me=nobody as_user=(setpriv --reuid=nobody --regid=nogroup --clear-groups)

# choose_ports NAME...: a free one for each; port_of tells it. For setup_file.
choose_ports() {
    local name
    for name; do
        export "$(port_variable "$name")=$(free_port)"
    done
}

port_of() {
    local variable
    variable=$(port_variable "$1")
    echo "${!variable}"
}

port_variable() {
    local name=${1^^}
    echo "${name//-/_}_PORT"
}

# user_dir NAME: makes a directory for that user in this suite's, prints its path.
user_dir() {
    local dir=$BATS_FILE_TMPDIR/$1
    mkdir -p "$dir"
    [[ $(id -u) != 0 ]] || chown nobody:nogroup "$dir"
    chmod go+x "$BATS_RUN_TMPDIR"
    echo "$dir"
}

# launch CLIENT-ADDRESS RELAY-ARGUMENT...: relay under tcpserver where this client
# can reach it, at $to and $port. The client's port is to be $from. $relay may be
# another command.
launch() {
    to=127.0.0.1
    [[ $1 != *:* ]] || to=::1
    port=$(free_port)
    from=$(free_port)
    LISTEN=$to tcpserver_run "$port" "${relay[@]:-$RELAY}" "${@:2}"
}

# quiet_end: the connection is over, and relay had nothing to say.
quiet_end() {
    wait_for no_child tcpserver
    run relay_lines
    assert_output ''
    stop tcpserver
}

# readme_commands FILE: what its ```sh block tells people to type.
readme_commands() {
    awk '/^```/ { commands = $0 == "```sh"; next } commands' "$1"
}
