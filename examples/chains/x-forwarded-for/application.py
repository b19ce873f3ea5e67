# An application that knows its clients by X-Forwarded-For only: README.md.
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
#   client -> launcher, port 80 -> relay -> nginx -> this, 127.0.0.1:8000
#
# Try it:  as README.md says
# To see:  its answer, and its log on stderr: each line begins with the client's address
# Change:  all of it: this is where your own stands. Like this one, it must listen
#          where only nginx can reach it: it believes whoever asks.

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Application(BaseHTTPRequestHandler):
    # One connection, many requests.
    protocol_version = "HTTP/1.1"

    # What a line of the log begins with. All that came: there should be one.
    def address_string(self):
        return ", ".join(self.headers.get_all("X-Forwarded-For", ["nobody"]))

    def do_GET(self):
        address, port = self.client_address
        answer = f"client {self.address_string()}, asked from {address}:{port}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


ThreadingHTTPServer(("127.0.0.1", 8000), Application).serve_forever()
