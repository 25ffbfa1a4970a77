"""Network: sockets of every family, and every other way to somebody who listens."""

from .row import Row, rows

FAMILIES = {
    "UNIX": 1,
    "INET": 2,
    "AX25": 3,
    "IPX": 4,
    "NETROM": 6,
    "X25": 9,
    "INET6": 10,
    "KEY": 15,
    "NETLINK": 16,
    "PACKET": 17,
    "RDS": 21,
    "CAN": 29,
    "TIPC": 30,
    "BLUETOOTH": 31,
    "ALG": 38,
    "NFC": 39,
    "VSOCK": 40,
    "KCM": 41,
    "QIPCRTR": 42,
    "SMC": 43,
    "XDP": 44,
    "MCTP": 45,
}
KINDS = {"stream": 1, "datagram": 2, "raw": 3}

ROWS: list[Row] = [
    *rows(
        "sockets",
        "filter",
        {
            f"{family} {kind}": f"S('socket', {number}, {of}, 0)"
            for family, number in FAMILIES.items()
            for kind, of in KINDS.items()
        },
    ),
    *rows(
        "network",
        "filter",
        {
            "connect": "socket.create_connection(('127.0.0.1', C['port']), 2)",
            "connect with a name": "socket.create_connection(('localhost', C['port']), 2)",
            "connect by _socket": "import _socket\n_socket.socket(2, 1).connect(('127.0.0.1', C['port']))",
            "listen": "socket.create_server(('127.0.0.1', 0))",
            "UDP": "socket.socket(2, 2).sendto(b'x', ('127.0.0.1', C['port']))",
            "HTTP": "import http.client\nhttp.client.HTTPConnection('127.0.0.1', C['port']).request('GET', '/')",
            "asyncio": "import asyncio\nasyncio.run(asyncio.open_connection('127.0.0.1', C['port']))",
            "abstract name": "s = socket.socket(1)\ns.connect('\\0' + C['abstract'])",
            "path": "s = socket.socket(1)\ns.connect(C['socket'])",
            "bind an abstract name": "s = socket.socket(1)\ns.bind('\\0evil')",
            "getaddrinfo": "socket.getaddrinfo('example.org', 80)",
            "interfaces": "socket.if_nameindex()",
            "a pair of datagrams": "socket.socketpair(1, 2)",
            "a pair of sequences": "socket.socketpair(1, 5)",
            "a pair of raw": "socket.socketpair(1, 3)",
            "a pair of another family": "S('socketpair', 2, 1, 0, P(ctypes.create_string_buffer(8)))",
            "connect one of a pair": "socket.socketpair()[0].connect('\\0' + C['abstract'])",
            "bind one of a pair": "s = socket.socketpair()[0]\nS('bind', s.fileno(), P(b'\\1\\0\\0evil'), 7)",
            "listen on one of a pair": "S('listen', socket.socketpair()[0].fileno(), 1)",
            "accept": "S('accept4', socket.socketpair()[0].fileno(), 0, 0, 0)",
            "send with an address": "a = ctypes.create_string_buffer(b'\\1\\0\\0' + C['abstract'].encode())\nS('sendto', socket.socketpair()[0].fileno(), P(b'x'), 1, 0, P(a), 3 + len(C['abstract']))",
            "send a descriptor": "socket.send_fds(socket.socketpair()[0], [b'x'], [0])",
            "receive a descriptor": "socket.recv_fds(socket.socketpair()[0], 9, 9)",
            "sendmmsg": "S('sendmmsg', socket.socketpair()[0].fileno(), 0, 0, 0)",
            "options": "socket.socketpair()[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)",
            "connect the worker's own socket": "S('connect', next(n for n in range(3, 64) if L.fcntl(n, 1) >= 0), P(bytes(16)), 16)",
            "io_uring": "S('io_uring_setup', 8, P(ctypes.create_string_buffer(120)))",
            "io_uring_enter": "S('io_uring_enter', 0, 1, 1, 0, 0, 0)",
            "io_uring_register": "S('io_uring_register', 0, 0, 0, 0)",
            "asynchronous files": "S('io_setup', 4, P(ctypes.create_string_buffer(8)))",
        },
    ),
]
