#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Requests made from the API's own description, right and wrong: no crash, no 500.

usage: fuzz_api.py [--requests N] [--seed N]
"""

import argparse
import json
import random
import sys
import tempfile
import urllib.parse

import guest
from api import Daemon
from guest import Failure

ALLOWED = {200, 400, 404, 405, 409, 413, 414, 422, 431, 504}
WORDS = ["", "one", "two", "x" * 63, "x" * 64, "../one", ".", "a b", "--help", "-", "é", "\x01",
         "%00", "1", "0", "-1", "16M", "1Q", "999999999999999T", "yes", "null", "'; ls", "$(id)",
         "user", "none", "console", "/dev/null", "/etc/passwd", "/" * 5000]


class Fuzzer:
    def __init__(self, daemon, seed):
        self.daemon = daemon
        self.random = random.Random(seed)
        self.spec = daemon.ask("GET", "/v1/openapi.json")
        self.operations = [(method.upper(), path, operation)
                           for path, methods in self.spec["paths"].items()
                           for method, operation in methods.items()]

    def resolve(self, node):
        while "$ref" in node:
            target = self.spec
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def any_value(self, depth=0):
        choice = self.random.randrange(8 if depth < 3 else 6)
        if choice < 2:
            return self.random.choice(WORDS)
        if choice < 6:
            return self.random.choice([None, True, False, 0, -1, 1 << 62, 1.5])
        if choice == 6:
            return [self.any_value(depth + 1) for _ in range(self.random.randrange(40))]
        return {self.random.choice(WORDS): self.any_value(depth + 1)
                for _ in range(self.random.randrange(5))}

    def value(self, schema):
        """One of the schema's, mostly."""
        schema = self.resolve(schema)
        if self.random.random() < 0.25:
            return self.any_value()
        if "oneOf" in schema:
            return self.value(self.random.choice(schema["oneOf"]))
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        kind = schema["type"]
        if kind == "boolean":
            return self.random.random() < 0.5
        if kind == "integer":
            return self.random.choice([schema["minimum"], schema["maximum"], 7])
        if kind == "array":
            return [self.value(schema["items"]) for _ in range(self.random.randrange(3))]
        if kind == "object":
            return {key: self.value(schema["additionalProperties"])
                    for key in self.random.sample(["cpus", "memory", "append", "kernel", "disk",
                                                   "net", "port", "x"], 3)}
        return self.random.choice(WORDS)

    def request(self):
        method, path, operation = self.random.choice(self.operations)
        if self.random.random() < 0.05:
            method = self.random.choice(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "X"])
        query = {}
        for parameter in operation.get("parameters", []):
            parameter = self.resolve(parameter)
            if parameter["in"] == "path":
                word = self.random.choice(["one", "one", self.random.choice(WORDS)])
                path = path.replace("{" + parameter["name"] + "}", urllib.parse.quote(word, ""))
            elif self.random.random() < 0.7:
                query[parameter["name"]] = str(self.value(parameter["schema"]))
        if query:
            path += "?" + urllib.parse.urlencode(query)
        body = None
        if "requestBody" in operation or self.random.random() < 0.05:
            schema = operation.get("requestBody", {}).get("content", {}).get(
                "application/json", {}).get("schema", {"properties": {}})
            body = {name: self.value(value) for name, value in schema["properties"].items()
                    if self.random.random() < 0.8}
            body = json.dumps(body).encode()
            if self.random.random() < 0.1:
                at = self.random.randrange(len(body) + 1)
                body = body[:at] + self.random.randbytes(3) + body[at:]
        return method, path, body

    def step(self):
        method, path, body = self.request()
        if path.startswith("/v1/events") and method == "GET":
            return  # which does not end; test_daemon.py has it
        status, answer = self.daemon.raw(method, path, body)
        if status not in ALLOWED:
            raise Failure(f"{method} {path} {body}: {status} {answer}")
        if status >= 400 and method != "HEAD" and status not in (414, 431):
            error = json.loads(answer)["error"]
            if not error or "\n" in error:
                raise Failure(f"{method} {path} {body}: {error!r}")


def main(start, requests, seed):
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as home:
        daemon = Daemon(home)
        daemon.start()
        try:
            fuzzer = Fuzzer(daemon, seed)
            for number in range(requests):
                if number % 40 == 0 and "one" not in daemon.states():
                    daemon.create("one")
                fuzzer.step()
            daemon.ask("GET", "/v1/vms")
        finally:
            if daemon.process.poll() is not None:
                raise Failure(f"pearvisord ended with {daemon.process.returncode}")
            daemon.end_all()
            daemon.end()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    sys.exit(guest.main(main, args.requests, args.seed))
