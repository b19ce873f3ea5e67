# Varnish behind relay: see varnish.sh.
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
vcl 4.1;

import std;

# Change: where the application is.
backend application {
    .host = "127.0.0.1";
    .port = "8000";
}

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

    # Varnish adds the client to what the client itself has sent. This leaves the
    # one address that is known.
    set req.http.X-Forwarded-For = client.ip;

    # To see that it works; take it out afterwards, with its vcl_synth.
    if (req.url ~ "^/client") {
        return (synth(700));
    }
}

sub vcl_synth {
    if (resp.status == 700) {
        set resp.status = 200;
        set resp.http.Content-Type = "text/plain";
        set resp.body = "" + client.ip + " " + std.port(client.ip) + {"
"};
        return (deliver);
    }
}
