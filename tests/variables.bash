# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Variables that TLS programs set. Loaded after helper.
#
# shellcheck disable=SC2034 # for the suites

# As s6-tlsd (-Y) sets them, and ucspi-ssl's sslserver (-z -s).
S6_TLSD=(SSL_PROTOCOL=TLSv1.2 SSL_CIPHER=ECDHE-ECDSA-AES128-GCM-SHA256
    SSL_TLS_SNI_SERVERNAME=relay.example
    "SSL_PEER_CERT_HASH=SHA256:$(printf 'ab%.0s' {1..32})"
    'SSL_PEER_CERT_SUBJECT=C=DE, O=Example\, Inc., CN=client.example')
SSLSERVER=(SSL_PROTOCOL=TLSv1.3 SSL_CIPHER=TLS_AES_256_GCM_SHA384
    'SSL_CLIENT_S_DN=/C=DE/O=Example, Inc./CN=client.example' SSL_CLIENT_S_DN_CN=client.example)
