#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# TLVs: what --ssl makes of the variables that TLS programs set. receivers.bats has those
# programs that Debian has.
#
# shellcheck disable=SC2154 # set by variables

load helper
load connection
load variables

setup() {
    to=$BATS_TEST_TMPDIR/backend.sock
    backend_record "$to"
    echo 0 >"$BATS_TEST_TMPDIR/count"
}

teardown() { stop_all; }

# --- bytes ---

# variables VARIABLE=VALUE... [-- RELAY-ARGUMENT...]: the TLVs, in hex, of a relay
# that is started with these, for a client of whom nothing else is known.
variables() {
    local n environment=()
    while (($#)) && [[ $1 != -- ]]; do
        environment+=("$1")
        shift
    done
    env -i "${environment[@]}" "$RELAY" -2 -s "${@:2}" "$to" </dev/null || return
    n=$(($(cat "$BATS_TEST_TMPDIR/count") + 1))
    echo "$n" >"$BATS_TEST_TMPDIR/count"
    hexdump_of "$(all_bytes "$n")" | sed 's/^0d0a0d0a000d0a515549540a2100....//'
}

# tlv TYPE HEX
tlv() {
    printf '%02x%04x%s' "$1" $((${#2} / 2)) "$2"
}

# text TYPE TEXT: a TLV.
text() {
    tlv "$1" "$(hex_text "$2")"
}

# ssl CLIENT VERIFY [SUB-TLV...]
ssl() {
    local IFS=''
    tlv 0x20 "$(printf '%02x%08x' "$1" "$2")${*:3}"
}

VERSION=0x21 NAME=0x22 CIPHER=0x23

@test "without a TLS program's variables there are no TLVs" {
    assert_equal "$(variables)" ''
    assert_equal "$(variables PROTO=TCP TCPREMOTEHOST=client.example SSL_CLIENT_VERIFY=SUCCESS HTTPS=on)" ''
    assert_equal "$(variables SSL_PROTOCOL= SSL_CIPHER= SSL_TLS_SNI_SERVERNAME= SSL_CLIENT_DN= SSL_CLIENT_S_DN_CN=)" ''
}

@test "TLS without a client's certificate: bit 1, not verified" {
    local without
    without=$(ssl 1 1 "$(text $VERSION TLSv1.2)" "$(text $CIPHER AES128-SHA)")
    assert_equal "$(variables SSL_PROTOCOL=TLSv1.2 SSL_CIPHER=AES128-SHA)" "$without"
    assert_equal "$(variables SSL_PROTOCOL=TLSv1.2 SSL_CIPHER=AES128-SHA SSL_CLIENT_VERIFY=SUCCESS)" "$without"
    assert_equal "$(variables SSL_PROTOCOL=TLSv1.2 SSL_CIPHER=AES128-SHA SSL_CLIENT_VERIFY=NONE SSL_CLIENT_S_DN=)" "$without"
    assert_equal "$(variables SSL_PROTOCOL=TLSv1.3)" "$(ssl 1 1 "$(text $VERSION TLSv1.3)")"
    assert_equal "$(variables SOCAT_OPENSSL_PROTO_VERSION=TLSv1.2 SOCAT_OPENSSL_CIPHER=AES128-SHA)" "$without"
    assert_equal "$(variables SSL_PROTOCOL=TLSv1.2 SSL_CIPHER=AES128-SHA \
        SOCAT_OPENSSL_PROTO_VERSION=TLSv1.3 SOCAT_OPENSSL_CIPHER=TLS_AES_256_GCM_SHA384)" "$without"
}

@test "the certificates that s6-tlsd and sslserver let pass are verified" {
    assert_equal "$(variables "${S6_TLSD[@]}")" "$(text 2 relay.example)$(ssl 7 0 \
        "$(text $VERSION TLSv1.2)" "$(text $NAME client.example)" "$(text $CIPHER ECDHE-ECDSA-AES128-GCM-SHA256)")"
    assert_equal "$(variables "${SSLSERVER[@]}")" "$(ssl 7 0 \
        "$(text $VERSION TLSv1.3)" "$(text $NAME client.example)" "$(text $CIPHER TLS_AES_256_GCM_SHA384)")"
    assert_equal "$(variables SSL_PROTOCOL=TLSv1.2 SSL_PEER_CERT_HASH=SHA256:ab)" \
        "$(ssl 7 0 "$(text $VERSION TLSv1.2)")"
    assert_equal "$(variables SSL_PROTOCOL=TLSv1.2 SSL_CLIENT_S_DN=/O=x)" \
        "$(ssl 7 0 "$(text $VERSION TLSv1.2)")"
}

@test "the certificates that stunnel, socat and s6's proxy-server tell of are not" {
    local not_verified
    not_verified=$(ssl 7 1 "$(text $NAME client.example)")
    assert_equal "$(variables SSL_CLIENT_DN='O="Example, Inc.", CN=client.example')" "$not_verified"
    assert_equal "$(variables SOCAT_OPENSSL_X509_COMMONNAME=client.example)" "$not_verified"
    assert_equal "$(variables SSL_PEER_CERT_CN=client.example)" "$not_verified"
}

@test "a certificate is not verified where SSL_CLIENT_VERIFY says anything but SUCCESS" {
    local said
    for said in FAILED FAILED:expired NONE GENEROUS success SUCCESSFUL; do
        run variables "${SSLSERVER[@]}" SSL_CLIENT_VERIFY="$said"
        assert_output --regexp '^20[0-9a-f]{4}0700000001'
    done
    assert_equal "$(variables "${SSLSERVER[@]}" SSL_CLIENT_VERIFY=SUCCESS)" "$(variables "${SSLSERVER[@]}")"
}

# name_in VARIABLE SUBJECT: the common name that relay reads there, between > and <.
name_in() {
    local header
    header=$(variables "$1=$2") || return
    [[ $header == 20????07000000* ]] || return
    printf '>%s<' "$(unhex "${header:22}")"
}

# names VARIABLE: of each line's subject, which comes after a name and a tab.
names() {
    local name subject
    while IFS=$'\t' read -r name subject; do
        assert_equal "$subject: $(name_in "$1" "$subject")" "$subject: $name"
    done
}

@test "no part of a subject that s6-tlsd writes can forge a name" {
    names SSL_PEER_CERT_SUBJECT <<'END'
>me<	CN=me
>me<	O=a\, CN=root, CN=me
>me<	O=a\, CN\=root, CN=me
>a, CN=root<	CN=a\, CN\=root
>me<	O=x\\, CN=me
>\,me<	CN=\\\,me
>ro"ot<	CN=ro"ot
>"root"<	CN="root"
>me<	O=a", CN=me
>me<	O=a", OU=b", CN=me
><	O=CN=root
><	O=x
><	SCN=root, CN\=root
><	<invalid>
END
}

@test "no part of a subject that stunnel writes can forge a name" {
    names SSL_CLIENT_DN <<'END'
>me<	CN=me
>me<	O="a, CN=root", CN=me
>me<	O="a\", CN=root, \"b", CN=me
>me<	O="\\", CN=me
>me<	O=a\, CN=root, CN=me
> me <	O=" CN=root ", CN=" me "
>say "me"<	CN="say \"me\""
>me<	O=x + CN=me
>me<	CN=me + O=x
> me <	CN=" me " + O=x
> me <	CN=\20me\20
>me <	CN=me\ , O=x
>b<	CN=admin\00.evil, CN=b
><	CN=admin\00.evil
><	CN=\00
>a+b<	CN=a\+b, O=x
>it's<	CN=it's
><	O="CN=root
><	O="x, CN=root
END
}

@test "a name is not looked for in a subject as OpenSSL's and LibreSSL's /KEY=value" {
    names SSL_PEER_CERT_SUBJECT <<'END'
><	/CN=me
><	/O=x/CN=root/CN=me
><	/O=a, CN=root
END
    names SSL_CLIENT_DN <<'END'
><	/O=a, CN=root, /CN=me
END
}

@test "a value may have 255 bytes, and not one more" {
    local long name
    long=$(printf 'x%.0s' {1..255})
    for name in SSL_PEER_CERT_CN SSL_CLIENT_S_DN_CN SOCAT_OPENSSL_X509_COMMONNAME; do
        run variables "$name=$long"
        assert_output --partial "$(text $NAME "$long")"
    done
    assert_equal "$(variables SSL_TLS_SNI_SERVERNAME="$long")" "$(text 2 "$long")"
    assert_equal "$(variables SSL_PROTOCOL="$long" SSL_CIPHER="$long" SSL_CLIENT_S_DN_CN="$long")" \
        "$(ssl 7 0 "$(text $VERSION "$long")" "$(text $NAME "$long")" "$(text $CIPHER "$long")")"
    for name in SSL_TLS_SNI_SERVERNAME SSL_PROTOCOL SOCAT_OPENSSL_PROTO_VERSION SSL_PEER_CERT_SUBJECT SSL_PEER_CERT_HASH SSL_PEER_CERT_CN \
        SSL_CLIENT_S_DN_CN SSL_CLIENT_S_DN SSL_CLIENT_DN SOCAT_OPENSSL_X509_COMMONNAME SSL_CLIENT_VERIFY; do
        run variables "$name=${long}x"
        assert_failure 100
        assert_output "relay: error msg=\"$name has over 255 bytes\" backend=$to"
    done
    run variables SSL_PROTOCOL=TLSv1.3 SSL_CIPHER="${long}x"
    assert_failure 100
}

@test "what --tlv says of the name asked for goes before what the TLS program says" {
    assert_equal "$(variables SSL_TLS_SNI_SERVERNAME=relay.example -- -x authority=other.example)" \
        "$(text 2 other.example)"
}

@test "what --tlv says is text, or hex after 0x" {
    assert_equal "$(variables -- -x 0xE0=hello -x 225=0x00fFa0 -x authority=0X41 -x alpn=0x)" \
        "$(text 0xE0 hello)$(tlv 225 00ffa0)$(text 2 A)$(tlv 1 '')"
}
