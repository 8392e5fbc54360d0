"""A REST gateway to a store: GET, PUT and DELETE of /KEY; GET of /?prefix=P lists keys.

    python examples/gateway.py ./data                   # opens the LevelDB itself: it is a node
    python examples/gateway.py unix:./a redis://b:6379  # asks daemons, the first that answers

Both give the same handle; nothing below knows which it is. PORT of the environment, else 8080.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote_to_bytes, urlsplit

import plyvel

import replicator


class Gateway(BaseHTTPRequestHandler):
    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def serve(self):
        url = urlsplit(self.path)
        key, prefix = unquote_to_bytes(url.path[1:]), unquote_to_bytes(url.query[len("prefix=") :])
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            match self.command:
                case "GET" if key:
                    value = db.get(key)
                    self.answer(404) if value is None else self.answer(200, value)
                case "GET":
                    keys = db.iterator(prefix=prefix, include_value=False)
                    self.answer(200, "".join(f"/{quote(found)}\n" for found in keys).encode())
                case "PUT":
                    self.answer(200, db.put(key, body) or b"")
                case "DELETE":
                    self.answer(200, db.delete(key) or b"")
        except replicator.UsageError as error:
            self.answer(400, f"{error}\n".encode())
        except replicator.ReplicatorError as error:  # StaleError and OutcomeUnknown are among them
            self.answer(503, f"{error}\n".encode())

    do_GET = do_PUT = do_DELETE = serve


if __name__ == "__main__":
    places = sys.argv[1:]
    if any(":" in place for place in places):
        db = replicator.connect(places, timeout=2)
    else:
        db = replicator.replicate(plyvel.DB(*places, create_if_missing=True))
    with db, ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 8080))), Gateway) as http:
        print(f"http://127.0.0.1:{http.server_port}/", flush=True)
        http.serve_forever()
