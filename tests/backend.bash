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

# start_each NAME...: start_NAME, which is the suite's, in a directory of its own that has
# one for HTML in it.
start_each() {
    local name
    for name; do
        cd "$(user_dir "$name")" && mkdir html || return
        "start_$name"
    done
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

# with_each_client BACKEND VERSIONS COMMAND...: COMMAND CLIENT-ADDRESS VERSION ADDRESS for
# an IPv4 and an IPv6 client, with each of these options for the header's version. BACKEND:
# its name, for its ADDRESS of the client's kind, or its only ADDRESS.
with_each_client() {
    local client version to address=$1
    for version in $2; do
        for client in 127.0.0.2 ::1; do
            to=127.0.0.1
            [[ $client != ::1 ]] || to=::1
            [[ $1 == *[:/]* ]] || address=$(bracket "$to"):$(port_of "$1")
            "${@:3}" "$client" "$version" "$address"
        done
    done
}

# quiet_end: the connection is over, and relay had nothing to say.
quiet_end() {
    wait_for no_child tcpserver
    run relay_lines
    assert_output ''
    stop tcpserver
}

# nobody RELAY-ARGUMENT...: a request of a client of whom nothing is known.
nobody() {
    printf 'GET /client HTTP/1.0\r\n\r\n' | "$RELAY" "$@" | cat
}

# readme_commands FILE [N]: the lines of its first, or Nth, ```sh block.
readme_commands() {
    awk -v n="${2:-1}" '/^```/ { inside = /^```sh$/; block += inside; next } inside && block == n' "$1"
}

# --- HTTP servers, which tell the client, and a log, who it is. The suite has: fetch NAME
# CLIENT-ADDRESS [CURL-ARGUMENT...], which asks from the port $from; url_of NAME, what it
# asks for; in_log NAME CLIENT-ADDRESS [TIMES], whether the log has it ---

# sees_client NAME CLIENT-ADDRESS RELAY-ARGUMENT...: tcpserver, relay, backend once; the
# client is in the answer and in the log.
sees_client() {
    local name=$1 client=$2 to port from
    shift 2
    launch "$client" "$@"
    run fetch "$name" "$client"
    assert_success
    assert_output "$(told "$name" "$client")"
    wait_for in_log "$name" "$client"
    quiet_end
}

# told NAME CLIENT-ADDRESS: what it answers. Squid and Traffic Server tell an application
# in X-Forwarded-For, which knows no port.
told() {
    case $1 in
    squid | trafficserver) echo "$2" ;;
    *) echo "$2 $from" ;;
    esac
}

# keeps_alive NAME: two requests on one connection, the client in both.
keeps_alive() {
    local answer end='done'
    launch 127.0.0.2 -v "127.0.0.1:$(port_of "$1")"
    answer=$(told "$1" 127.0.0.2)
    run fetch "$1" 127.0.0.2 "$(url_of "$1")"
    assert_output "$answer
$answer"
    wait_for in_log "$1" 127.0.0.2 2
    # One connection, which ended in order; but hitch says goodbye, as TLS does, to
    # a client that has gone.
    [[ $1 != hitch ]] || end='(done|client-reset)'
    wait_for no_child tcpserver
    run relay_lines
    assert_output --regexp "^relay: closed client=127\.0\.0\.2:$from .* end=$end$"
}

# forge NAME FROM-ADDRESS [URL]: no relay, a header of the client's own making, and a
# request, from the port $from or any other. Prints the answer.
forge() {
    local to=127.0.0.1 port from=${from:-$(free_port)} url
    port=$(port_of "$1")
    url=${3:-$(url_of "$1")}
    {
        printf 'PROXY TCP4 6.6.6.6 6.6.6.6 666 666\r\n'
        printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "${url#"http://127.0.0.1:$port"}"
    } | ask "$port" "$from" "$2" | tr -d '\r'
}

# start_application: one that knows of X-Forwarded-For only, and answers with it. Its
# files are in the working directory.
start_application() {
    cat >nginx.conf <<END
pid nginx.pid;
error_log stderr;
events {}
http {
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    access_log access.log;
    server {
        listen 127.0.0.1:$APPLICATION_PORT;
        default_type text/plain;
        return 200 "\$http_x_forwarded_for\n";
    }
}
END
    start application "${as_user[@]}" nginx -p "$PWD" -c "$PWD/nginx.conf" -g 'daemon off;'
}

# --- TLS ---

# certificates DIRECTORY: ca.pem, and signed by it server.pem for relay.example and
# client.pem for client.example, each with its key.
certificates() {
    (
        cd "$1" || return
        certificate ca /CN=CA
        certificate server /CN=relay.example -CA ca.crt -CAkey ca.pem \
            -addext subjectAltName=DNS:relay.example
        certificate client '/C=DE/O=Example, Inc./CN=client.example' -CA ca.crt -CAkey ca.pem
        chmod go+r ./*.pem ./*.crt
    )
}

# certificate NAME SUBJECT [OPENSSL-ARGUMENT...]: NAME.pem, its key in front.
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -utf8 \
        -subj "$2" "${@:3}" -keyout "$1.key" -out "$1.crt" 2>/dev/null &&
        cat "$1.key" "$1.crt" >"$1.pem"
}
