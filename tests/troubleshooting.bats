#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# README.md's section Troubleshooting: each symptom is made on purpose, and real
# programs say what is quoted there. Those of more programs are in mail.bats,
# caches.bats, systemd.bats and superservers.bats; the last test here sees that
# none is forgotten.
#
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own
# shellcheck disable=SC2016 # what README.md quotes, and what inner shells expand
# shellcheck disable=SC2034,SC2153,SC2154 # set by backend and connection, or for them

load helper
load backend
load connection
load readme

# One of each: nginx, Apache and HAProxy with their files of examples/, and beside
# these, in the same process, listeners that have something wrong; and sshd.
setup_file() {
    local name
    connection_file
    choose_ports nginx nginx-plain nginx-unused apache apache-plain apache-format \
        haproxy haproxy-plain sshd
    user_dir nginx && user_dir apache && user_dir sshd
    mkdir "$BATS_FILE_TMPDIR"/{nginx,apache}/html
    start_nginx
    start_apache
    sed "s/8080/$HAPROXY_PORT/; s/8000/$NGINX_PLAIN_PORT/" "$ROOT/examples/haproxy.cfg" >"$BATS_FILE_TMPDIR/haproxy.cfg"
    printf 'frontend plain\n bind 127.0.0.1:%s\n' "$HAPROXY_PLAIN_PORT" >>"$BATS_FILE_TMPDIR/haproxy.cfg"
    start haproxy "${as_user[@]}" haproxy -f "$BATS_FILE_TMPDIR/haproxy.cfg"
    start_sshd
    for name in nginx nginx-plain nginx-unused apache apache-plain apache-format haproxy haproxy-plain sshd; do
        wait_listening "$(port_of "$name")" 127.0.0.1
    done
}

teardown_file() { stop_all; }

setup() {
    connection
}

teardown() { stop_all; }

# --- the backends ---

# On the port "unused" the header is read, and not used: it is believed from
# another address than relay's only.
start_nginx() {
    local dir=$BATS_FILE_TMPDIR/nginx
    sed -e "s/8080/$NGINX_PORT/" -e '$d' "$ROOT/examples/nginx.conf" >"$dir/nginx.conf"
    cat >>"$dir/nginx.conf" <<END
    server {
        listen 127.0.0.1:$NGINX_PLAIN_PORT;
        access_log plain.log relay;
    }
    log_format unused '\$remote_addr header \$proxy_protocol_addr "\$request"';
    server {
        listen 127.0.0.1:$NGINX_UNUSED_PORT proxy_protocol;
        set_real_ip_from 192.0.2.1;
        real_ip_header proxy_protocol;
        access_log unused.log unused;
    }
}
END
    start nginx "${as_user[@]}" nginx -p "$dir" -c "$dir/nginx.conf" -g 'daemon off;'
}

start_apache() {
    local dir=$BATS_FILE_TMPDIR/apache
    sed -e "s/8080/$APACHE_PORT/g" "$ROOT/examples/apache.conf" >"$dir/apache.conf"
    cat >>"$dir/apache.conf" <<END
LogLevel remoteip:debug
Listen 127.0.0.1:$APACHE_PLAIN_PORT
<VirtualHost 127.0.0.1:$APACHE_PLAIN_PORT>
    CustomLog plain.log relay
</VirtualHost>
Listen 127.0.0.1:$APACHE_FORMAT_PORT
<VirtualHost 127.0.0.1:$APACHE_FORMAT_PORT>
    RemoteIPProxyProtocol On
    CustomLog format.log "%{c}a who is %a"
</VirtualHost>
END
    start apache "${as_user[@]}" apache2 -d "$dir" -f apache.conf -DFOREGROUND
}

# By hand, as a user, with a key of its own: nobody can log in, nor need to.
start_sshd() {
    local dir=$BATS_FILE_TMPDIR/sshd
    "${as_user[@]}" ssh-keygen -q -t ed25519 -N '' -f "$dir/key"
    install -m 755 "$TESTS/build/openssh-server/usr/sbin/sshd" "$dir/sshd"
    printf '%s\n' "ListenAddress 127.0.0.1:$SSHD_PORT" "HostKey $dir/key" 'PidFile none' >"$dir/sshd_config"
    start sshd "${as_user[@]}" "$dir/sshd" -D -e -f "$dir/sshd_config"
}

# log_of NAME FILE
log_of() {
    echo "$BATS_FILE_TMPDIR/$1${2:+/$2}.log"
}

# get: a page through relay, where launch has put it.
get() {
    curl -sS -i -m 30 --noproxy '*' --interface 127.0.0.2 "http://127.0.0.1:$port/"
}

# through RELAY-ARGUMENT...: the same, with a relay of its own.
through() {
    launch 127.0.0.2 "$@"
    run get
    stop tcpserver
}

# sees KEY: the client was told what is quoted.
sees() {
    local regex
    regex=$(quoted "$1")
    assert_output --regexp "$regex"
}

# sees_hang_up: nothing but one of the two.
sees_hang_up() {
    local empty reset
    empty=$(quoted 'Empty reply from server') reset=$(quoted 'Connection reset by peer')
    assert_output --regexp "^curl: .*($empty|$reset)\$"
}

# --- the commands of the beginning ---

# watching COMMAND: README.md's, for the port of nginx.
watching() {
    need_root capturing
    start "$1" env TMPDIR="$BATS_TEST_TMPDIR" sh -c "$(readme_command "$1" "$NGINX_PORT")"
}

# quits: without a header, as mail programs do.
quits() {
    launch 127.0.0.2 -0 "127.0.0.1:$NGINX_PORT"
    run ask "$port" "$from" 127.0.0.2 < <(printf '.\r\nQUIT\r\n')
    stop tcpserver
}

@test "README's tcpdump shows a header of version 1, and nothing of a client that says QUIT" {
    watching tcpdump
    wait_log tcpdump 'listening on lo'
    quits
    launch 127.0.0.2 -1 "127.0.0.1:$NGINX_PORT"
    run get
    wait_log tcpdump "PROXY TCP4 127.0.0.2 127.0.0.1 "
    run ! grep -a QUIT "$(log_file tcpdump)"
}

@test "README's tshark names the client of either version and family" {
    watching tshark
    wait_log tshark ' -- File: '
    quits
    through -1 "127.0.0.1:$NGINX_PORT"
    launch 127.0.0.3 -2 "127.0.0.1:$NGINX_PORT"
    ask "$port" "$from" 127.0.0.3 </dev/null
    wait_for grep -P "^127\.0\.0\.2\t\t[0-9]+$" "$(log_file tshark)"
    wait_for grep -P "^127\.0\.0\.3\t\t$from$" "$(log_file tshark)"
    stop tcpserver
    launch ::1 -1 "[::1]:$NGINX_PORT"
    ask "$port" "$from" ::1 ::1 </dev/null
    wait_for grep -P "^\t::1\t$from$" "$(log_file tshark)"
    # And nobody who sends none.
    assert_equal "$(grep -cP '^[^\t]*\t[^\t]*\t' "$(log_file tshark)")" 3
}

@test "README's curl tells a backend that expects a header from one that does not" {
    local name port
    for name in nginx haproxy apache; do
        port=$(port_of "$name")
        run sh -c "$(readme_command 'curl .*--haproxy' "$port")"
        has_page
        run sh -c "$(readme_command 'curl -sS -i http' "$port")"
        sees_hang_up
        port=$(port_of "$name-plain")
        run sh -c "$(readme_command 'curl .*--haproxy' "$port")"
        assert_line --index 0 --regexp '^HTTP/1\.1 400 '
        run sh -c "$(readme_command 'curl -sS -i http' "$port")"
        has_page
    done
}

# has_page: whatever is on it.
has_page() {
    assert_line --index 0 --regexp '^HTTP/1\.1 (200|403|404|503) '
}

@test "README's ss tells which program listens, how many wait for it, and from where relay connects" {
    local full
    full=$(free_port)
    run sh -c "$(readme_command 'ss -Hl' "$NGINX_PORT")"
    assert_line --regexp "^LISTEN 0 .* 127\.0\.0\.1:$NGINX_PORT .*\"nginx\""
    launch 127.0.0.2 --bind=127.0.0.9 "127.0.0.1:$NGINX_PORT"
    start client socat -u "TCP:127.0.0.1:$port" -
    related() { sh -c "$(readme_command 'ss -Ht' "$NGINX_PORT")" | grep -E "^ESTAB .* 127\.0\.0\.9:.*\"relay\""; }
    wait_for related
    full_backend "$full"
    run sh -c "$(readme_command 'ss -Hl' "$full")"
    assert_line --regexp "^LISTEN +1 +0 "
}

# full_backend PORT: one that accepts nobody, with a full queue.
full_backend() {
    start full python3 -c '
import socket, sys, time
s = socket.socket()
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen(0)
waiting = [socket.socket() for _ in range(3)]
for client in waiting:
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", int(sys.argv[1])))
print("full", flush=True)
time.sleep(1000)' "$1"
    wait_log full full
}

# --- the backend does not expect a header ---

@test "nginx takes a header for a bad request" {
    through -1 "127.0.0.1:$NGINX_PLAIN_PORT"
    sees '400 Bad Request'
    says '"PROXY TCP4 …" 400' "$(log_of nginx plain)"
    through -2 "127.0.0.1:$NGINX_PLAIN_PORT"
    sees '400 Bad Request'
    says '"\x00" 400' "$(log_of nginx plain)"
}

@test "Apache takes a header for a bad request" {
    through -1 "127.0.0.1:$APACHE_PLAIN_PORT"
    sees '400 Bad Request'
    says '"PROXY TCP4 …" 400' "$(log_of apache plain)"
    through -2 "127.0.0.1:$APACHE_PLAIN_PORT"
    sees '400 Bad Request'
    says '"" 400' "$(log_of apache plain)"
}

@test "HAProxy takes a header for a bad request" {
    through -1 "127.0.0.1:$HAPROXY_PLAIN_PORT"
    sees '400 Bad request'
    says '"<BADREQ>"' "$(log_of haproxy)"
}

@test "OpenSSH takes a header for a broken greeting, and works with -0" {
    launch 127.0.0.2 -v "127.0.0.1:$SSHD_PORT"
    # Words of the server's that the client takes for a packet: mostly they arrive.
    wait_for ssh_complains
    says 'client sent invalid protocol identifier' "$(log_of sshd)"
    stop tcpserver
    launch 127.0.0.2 -0 "127.0.0.1:$SSHD_PORT"
    run log_in
    assert_output --partial 'Permission denied (publickey'
}

ssh_complains() {
    log_in 2>&1 | grep -E "$(quoted 'Bad packet length')"
}

log_in() {
    ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
        -o ConnectTimeout=30 -p "$port" nobody@127.0.0.1 </dev/null
}

@test "two relays in a row are a bad request, and none where the second has -0" {
    local second
    second=$(free_port)
    start second tcpserver -H -R -l0 127.0.0.1 "$second" "$RELAY" "127.0.0.1:$NGINX_PORT"
    wait_listening "$second"
    through "127.0.0.1:$second"
    sees '400 Bad Request'
    stop second
    start second tcpserver -H -R -l0 127.0.0.1 "$second" "$RELAY" -0 "127.0.0.1:$NGINX_PORT"
    wait_listening "$second"
    launch 127.0.0.2 "127.0.0.1:$second"
    run curl -sS -m 30 --noproxy '*' --interface 127.0.0.2 "http://127.0.0.1:$port/client"
    assert_output --regexp '^127\.0\.0\.2 '
}

# --- the backend expects a header, and none came ---

@test "nginx names the broken header where none came" {
    through -0 "127.0.0.1:$NGINX_PORT"
    sees_hang_up
    says 'broken header' "$(log_of nginx)"
}

@test "HAProxy says that it is no header" {
    through -0 "127.0.0.1:$HAPROXY_PORT"
    sees_hang_up
    says 'Received something which does not look like' "$(log_of haproxy)"
}

@test "Apache says nothing of a header that did not come, but with LogLevel remoteip:debug" {
    through -1 "127.0.0.1:$APACHE_PORT"
    says 'RemoteIPProxyProtocol: received valid PROXY header' "$(log_of apache error)"
    : >"$(log_of apache error)"
    through -0 "127.0.0.1:$APACHE_PORT"
    sees_hang_up
    says 'RemoteIPProxyProtocol: enabled on connection to' "$(log_of apache error)"
    run ! grep -E -e "$(quoted 'RemoteIPProxyProtocol: received valid PROXY header')" -e '\[remoteip:error\]' \
        "$(log_of apache error)"
}

# --- the backend does not take the header ---

@test "Apache forbids what comes from another address than relay's" {
    run curl -sS -i -m 30 --noproxy '*' --interface 127.0.0.3 --haproxy-protocol "http://127.0.0.1:$APACHE_PORT/"
    sees '403 Forbidden'
}

@test "Apache cannot read a header that names nobody" {
    # The request must be there already, as it mostly is.
    wait_for unread 'RemoteIPProxyProtocol: internal error: have data left over' -1 "127.0.0.1:$APACHE_PORT"
    wait_for unread 'RemoteIPProxyProtocol: unsupported protocol' -2 "127.0.0.1:$APACHE_PORT"
}

# unread KEY RELAY-ARGUMENT...: says it.
unread() {
    nobody "${@:2}"
    WAIT_SECONDS=0 says "$1" "$(log_of apache error)"
}

@test "HAProxy cannot read a header of version 2 that names nobody" {
    nobody -2 "127.0.0.1:$HAPROXY_PORT"
    says 'Received an invalid PROXY protocol header' "$(log_of haproxy)"
    run nobody -1 "127.0.0.1:$HAPROXY_PORT"
    assert_line --regexp '^127\.0\.0\.1 '
}

# --- the backend knows 127.0.0.1 ---

@test "nginx knows relay where it does not believe the header, which names the client" {
    through "127.0.0.1:$NGINX_UNUSED_PORT"
    wait_for grep -xF '127.0.0.1 header 127.0.0.2 "GET / HTTP/1.1"' "$(log_of nginx unused)"
}

@test "nginx and Apache log what is no request under relay's address" {
    local name
    for name in nginx apache; do
        launch 127.0.0.2 "127.0.0.1:$(port_of "$name")"
        run ask "$port" "$from" 127.0.0.2 < <(printf 'nonsense\r\n\r\n')
        wait_for grep -E "^127\.0\.0\.1 .*nonsense.*$(quoted ' 400 ')" "$(log_of "$name" access)"
        stop tcpserver
    done
}

@test "Apache's %{c}a is relay" {
    through "127.0.0.1:$APACHE_FORMAT_PORT"
    wait_for grep -xF '127.0.0.1 who is 127.0.0.2' "$(log_of apache format)"
}

@test "relay with pipes and no variables says UNKNOWN, and nginx logs relay" {
    local log
    record
    nobody -v "127.0.0.1:$backend" 2>"$BATS_TEST_TMPDIR/nobody.log"
    run cat "$(first_segment)"
    sees 'PROXY UNKNOWN'
    run ! grep client= "$BATS_TEST_TMPDIR/nobody.log"
    log=$(log_of nginx access)
    run nobody -2 "127.0.0.1:$NGINX_PORT"
    assert_line --regexp '^127\.0\.0\.1 '
    : >"$log"
    nobody "127.0.0.1:$NGINX_PORT"
    wait_for grep -E '^127\.0\.0\.1 [0-9]+ via 127\.0\.0\.1 .*"GET /client HTTP/1\.0"' "$log"
}

@test "behind another proxy relay's client is that proxy" {
    record
    tcpserver_relay "$port" "127.0.0.1:$backend"
    start proxy socat "TCP-LISTEN:$from,bind=127.0.0.1,fork,reuseaddr" "TCP:127.0.0.1:$port"
    wait_listening "$from"
    ask "$from" "" 127.0.0.2 </dev/null
    run cat "$(first_segment)"
    sees 'PROXY TCP4 127.0.0.1'
}

# --- nothing comes ---

@test "over tcpserver's own limit of 40 clients wait, and it says so" {
    record
    start tcpserver tcpserver -v -H -R -l0 127.0.0.1 "$port" "$RELAY" "127.0.0.1:$backend"
    wait_listening "$port"
    run crowd 40 127.0.0.2 127.0.0.3
    assert_output $'40\nwaits\nthen answered'
    says 'tcpserver: status: 40/40' "$(log_file tcpserver)"
}

# --- relay's own words ---

# relay_says KEY STATUS COMMAND...: on its standard error, and its exit status.
relay_says() {
    local status=0
    "${@:3}" </dev/null 2>"$BATS_TEST_TMPDIR/words" || status=$?
    assert_equal "$status" "$2"
    says "$1" "$BATS_TEST_TMPDIR/words"
}

@test "relay says why it cannot connect" {
    local path=$BATS_TEST_TMPDIR/socket
    relay_says 'cannot connect: Connection refused' 111 "$RELAY" "127.0.0.1:$backend"
    relay_says 'cannot connect: No such file or directory' 111 "$RELAY" "$path"
    relay_says 'none of the' 111 "$RELAY" "127.0.0.1:$backend" "$path"
    full_backend "$backend"
    relay_says 'cannot connect: … timed out' 111 "$RELAY" -t 0.5 "127.0.0.1:$backend"
    need_root "a socket of somebody else's"
    chmod go+x "$BATS_TEST_TMPDIR" "$BATS_FILE_TMPDIR/.."
    start backend socat "UNIX-LISTEN:$path,mode=600,fork" -
    wait_socket "$path"
    relay_says 'cannot connect: Permission denied' 111 "${as_user[@]}" "$BATS_FILE_TMPDIR/relay" "$path"
}

@test "relay says why it cannot look a name up" {
    printf 'nameserver 127.0.0.53\noptions timeout:1\n' >"$BATS_TEST_TMPDIR/resolv.conf"
    private_network
    # Nobody is there; then one that knows no name.
    relay_says 'Try again' 111 "${under[@]}" "$RELAY" client.example:80
    resolver_without_names
    relay_says 'Name does not resolve' 111 "${under[@]}" "$RELAY" client.example:80
}

@test "relay says what is wrong with what the launcher hands over" {
    local status=0
    relay_says 'descriptor 0 is closed' 100 sh -c '"$@" <&-' sh "$RELAY" "127.0.0.1:$backend"
    relay_says 'refused: not in --accept-from' 1 "$RELAY" -a 192.0.2.0/24 "127.0.0.1:$backend"
    relay_says 'refused: no valid PROXY header' 1 sh -c 'echo GET | "$@"' sh "$RELAY" -a any "127.0.0.1:$backend"
    relay_says 'refused: no PROXY header within' 1 sh -c 'sleep 2 | "$@"' sh "$RELAY" -a any -t 0.2 "127.0.0.1:$backend"
    relay_says 'TCPREMOTEIP is no address' 100 \
        env PROTO=TCP TCPREMOTEPORT=1 TCPREMOTEIP=client.example sh -c 'echo | "$@"' sh "$RELAY" "127.0.0.1:$backend"
    start activate systemd-socket-activate --listen="127.0.0.1:$port" --inetd "$RELAY" "127.0.0.1:$backend"
    wait_listening "$port"
    run connect
    exit_status activate || status=$?
    assert_equal "$status" 100
    says 'descriptor 0 is a listening socket' "$(log_file activate)"
}

@test "relay says that the backend hangs up" {
    # HAProxy trusts another address only; mostly the header is there already.
    launch 127.0.0.2 -v --bind=127.0.0.9 "127.0.0.1:$HAPROXY_PORT"
    hung_up() {
        get
        WAIT_SECONDS=0 says 'end=backend-reset' "$(log_file tcpserver)"
    }
    wait_for hung_up
}

@test "relay --check says of what a backend does what it may mean" {
    run "$RELAY" -n "127.0.0.1:$NGINX_PLAIN_PORT"
    assert_failure 111
    assert_output --regexp "$(quoted 'it takes the header for a request')"
    run "$RELAY" -n -2 -x "0xE0=$(printf '%01200d' 0)" "127.0.0.1:$NGINX_PORT"
    assert_failure 111
    assert_output --regexp "$(quoted 'it ends the connection')"
}

# --- launchers ---

@test "tcpserver tells relay's exit status as 28416 and 25600" {
    launch 127.0.0.2 "127.0.0.1:$backend"
    run get
    says 'end … status 28416' "$(log_file tcpserver)"
    stop tcpserver
    launch 127.0.0.2 --wrong
    run get
    says 'end … status 25600' "$(log_file tcpserver)"
}

# in_use COMMAND...: it cannot have the port of nginx.
in_use() {
    local status=0
    start "$1" "$@"
    exit_status "$1" || status=$?
    [[ $status != 0 ]]
}

@test "launchers say that a port is another's" {
    in_use tcpserver -H -R -l0 127.0.0.1 "$NGINX_PORT" "$RELAY" "127.0.0.1:$backend"
    says 'address already used' "$(log_file tcpserver)"
    in_use tcpsvd -l0 127.0.0.1 "$NGINX_PORT" "$RELAY" "127.0.0.1:$backend"
    says 'address already used' "$(log_file tcpsvd)"
    in_use systemd-socket-activate --accept --inetd -l "127.0.0.1:$NGINX_PORT" "$RELAY" "127.0.0.1:$backend"
    says 'Address already in use' "$(log_file systemd-socket-activate)"
    in_use socat "TCP-LISTEN:$NGINX_PORT,bind=127.0.0.1,fork" EXEC:"$RELAY"
    says 'Address already in use' "$(log_file socat)"
    in_use ncat -l 127.0.0.1 "$NGINX_PORT" -k -e "$RELAY"
    says 'Address already in use' "$(log_file ncat)"
}

@test "tcpserver and ncat say that relay is not there, and socat that a colon needs a backslash" {
    start tcpserver tcpserver -v -H -R -l0 127.0.0.1 "$port" "$RELAY.not" "127.0.0.1:$backend"
    wait_listening "$port"
    run get
    says 'unable to run …: file does not exist' "$(log_file tcpserver)"
    says 'end … status 28416' "$(log_file tcpserver)"
    stop tcpserver
    start ncat ncat -l -k -e no-relay 127.0.0.1 "$port"
    wait_listening "$port"
    run get
    says 'exec: No such file or directory' "$(log_file ncat)"
    stop ncat
    start socat socat "TCP-LISTEN:$port,bind=127.0.0.1,fork,reuseaddr" EXEC:"$RELAY 127.0.0.1:$backend",nofork
    wait_listening "$port"
    run get
    says 'wrong number of parameters' "$(log_file socat)"
}

# inetd_five PORT: with the example's first line, but five connections a minute,
# in a network of its own, where the port may be one below 1024.
inetd_five() {
    need_root 'inetd, which becomes nobody,'
    port=$1
    syslog_start
    start inetd unshare -n sh -c 'ip link set lo up && exec inetd -i "$1"' sh \
        "$(example inetd.conf "s/^80\>/$port/; /^443/d; s/nowait\.60000/nowait.5/")"
    wait_for inside listening "$port"
}

# inside COMMAND...: in that network.
inside() {
    nsenter --net="/proc/$(pid_of inetd)/ns/net" bash -c "$(declare -f listening leave)
        port=$port
        \"\$@\"" bash "$@"
}

# ten_leave: clients there; nobody listens behind relay, which may have reset one
# before it knows that it is connected.
ten_leave() {
    local i
    for i in {1..10}; do
        inside leave close 1 2>/dev/null || true
    done
}

@test "openbsd-inetd closes the port after so many connections, and says so in syslog" {
    inetd_five 80
    ten_leave
    says 'server failing (looping), service terminated for 10 min' "$(log_file syslog)"
    # The IPv4 one; IPv6 has another.
    wait_for eval "[[ -z \$(inside ss -Hltn4 'sport = :80') ]]"
}

@test "openbsd-inetd on a port from 1024 up closes the connections, and says nothing" {
    inetd_five 8080
    ten_leave
    wait_for no_child inetd
    inside listening 8080
    # relay, for which nobody listens, was started for five of them at most.
    run ! grep -F 'server failing' "$(log_file syslog)"
    run grep -cF 'server=127.0.0.1:8080 ' "$(log_file syslog)"
    [[ $output -le 5 ]]
}

# --- this section ---

@test "each symptom that README.md quotes is made by a test" {
    local symptom keys
    # Every key is between single quotes, to be found here.
    keys=$(grep -hoE "\<(quoted|says|sees|relay_says|journal_says|until_said|unread) '[^']*'" "$TESTS"/*.bats |
        sed "s/^[a-z_]* '//; s/'$//" | sort -u)
    while IFS= read -r symptom; do
        while IFS= read -r key; do
            [[ $symptom != *"$key"* ]] || continue 2
        done <<<"$keys"
        echo "no test makes a program say: $symptom"
        return 1
    done < <(quotations)
    [[ $(quotations | wc -l) -gt 40 ]]
}
