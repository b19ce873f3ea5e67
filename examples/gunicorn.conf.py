# gunicorn behind relay: the client's real address in REMOTE_ADDR and in the log.
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
#   client -> launcher, port 80 -> relay 127.0.0.1:8080 -> this gunicorn
#
# Try it:  gunicorn -c gunicorn.conf.py your.module:application
#          tcpserver -H -R -l0 0 80 relay 127.0.0.1:8080 &
#          curl http://your-address/    -> a line that begins with your client's address
# Change:  where the log goes: here, to stdout.

bind = ["127.0.0.1:8080", "[::1]:8080"]

# A connection may begin with a PROXY header, version 1 only: leave out relay's -2.
# gunicorn also takes connections that begin without one, and then knows relay or
# whoever else on this machine has connected.
proxy_protocol = True

# The header is believed when it comes from relay, and from nobody else: the
# addresses that relay connects from. Others get 403.
proxy_allow_ips = "127.0.0.1,::1"

# gunicorn 20 knows the client in the first request of a connection only. These
# workers close it after one; gthread, gevent and eventlet need keepalive = 0.
worker_class = "sync"

accesslog = "-"
