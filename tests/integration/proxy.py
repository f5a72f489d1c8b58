"""A TCP proxy on loopback that passes everything on and remembers it."""
import contextlib
import socket
import threading


class Proxy:
    def __init__(self, target_port=None):
        self.target_port = target_port  # may be set later, before the first connection
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"tcp://127.0.0.1:{self.port}"
        self.up, self.down = bytearray(), bytearray()  # to the target, from the target
        self.break_after = None  # bytes up to the one that is changed
        self.broken = 0
        self.cut_after = None  # bytes up to the end of the connection
        self.cuts = 0
        self.sockets = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        with self.lock:
            self.sockets.append(self.listener)
            for one in self.sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        for thread in list(self.threads):
            thread.join(5)
        for one in self.sockets:
            one.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target_port))
                except OSError:  # nobody is there: neither are we
                    near.close()
                    continue
                with self.lock:
                    self.sockets += [near, far]
                for source, sink, record in [(near, far, self.up), (far, near, self.down)]:
                    thread = threading.Thread(target=self.copy, args=(source, sink, record),
                                              daemon=True)
                    self.threads.append(thread)
                    thread.start()

    def copy(self, source, sink, record):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self.lock:
                    is_last = False
                    if record is self.up:
                        data, is_last = self.cut(self.spoil(data))
                    record += data
                sink.sendall(data)
                if is_last:
                    source.shutdown(socket.SHUT_RDWR)
                    break
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def break_next(self, after):
        """Change one bit of what goes up, so many bytes from now."""
        with self.lock:
            self.break_after = after

    def cut_next(self, after):
        """Hang up on both sides, so many bytes up from now."""
        with self.lock:
            self.cut_after = after

    def cut(self, data):
        """What of `data` still goes through, and whether it is the last."""
        if self.cut_after is None:
            return data, False
        if len(data) < self.cut_after:
            self.cut_after -= len(data)
            return data, False
        data = data[:self.cut_after]
        self.cut_after = None
        self.cuts += 1
        return data, True

    def spoil(self, data):
        if self.break_after is None:
            return data
        place = self.break_after
        if place >= len(data):
            self.break_after -= len(data)
            return data
        self.break_after = None
        self.broken += 1
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1:]

    def take(self):
        """What went up and down since the last time."""
        with self.lock:
            taken = bytes(self.up), bytes(self.down)
            self.up.clear()
            self.down.clear()
        return taken
