# Varnish behind relay, which reads what the header tells of TLS: see README.md.
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
vcl 4.1;

import proxy;
import std;

backend default none;

# The addresses that relay connects from.
acl relay {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    # Varnish takes a header from whoever connects. This serves only relay:
    # remote.ip is who connected, client.ip is the client.
    if (remote.ip !~ relay) {
        return (synth(403));
    }

    # What a client sends under this name itself never counts. Without a certificate
    # the verify result is 0 too, as if it was verified.
    if (proxy.client_has_cert_sess() && proxy.ssl_verify_result() == 0) {
        set req.http.X-Client-Name = proxy.client_cert_cn();
    } else {
        unset req.http.X-Client-Name;
    }
    return (synth(700));
}

# All that the header tells.
sub vcl_synth {
    if (resp.status == 700) {
        set resp.status = 200;
        set resp.http.Content-Type = "text/plain";
        set resp.body = "client " + client.ip + " " + std.port(client.ip) + {"
asked for "} + proxy.authority() + {"
TLS "} + proxy.ssl_version() + " " + proxy.ssl_cipher() + {"
certificate "} + proxy.client_cert_cn() + {"
verified "} + req.http.X-Client-Name + {"
"};
        return (deliver);
    }
}
