"""A server on this machine that speaks as much of W&B's protocol as a run and "wandb sync" need.

It records what it is sent, and fails as real ones do: it refuses, is silent, answers with an error, is slow, or dies.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# A key of the right length; nobody has it.
KEY = "x" * 40
PEOPLE = {"id": "1", "name": "nobody", "username": "nobody", "entity": "nobody"}


@dataclass
class SyncedRun:
    """What the server was sent of one run.

    Attributes:
        about: group, job type, name, tags, of the last UpsertBucket that had them.
        config: values by key.
        summary: values by key.
        files: uploaded, by name.
        complete: whether its end was told.
    """

    about: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, dict[int, str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    complete: bool = False

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows that were logged, in order."""
        lines = self.lines.get("wandb-history.jsonl", {})
        return [json.loads(lines[number]) for number in sorted(lines)]


class WandbServer:
    """The server, in threads of this process.

    Args:
        fault: None, or what is wrong: "refuses" connections, "silent": accepts and never answers, a status such as
            500 or 401, "slow": a second for each answer.
        after: number of requests that are answered before the fault begins.
        only: requests that the fault concerns: a regular expression for "/graphql UpsertBucket", "/files/..."
    """

    def __init__(self, fault: str | int | None = None, after: int = 0, only: str = "") -> None:
        self.fault, self.after, self.only = fault, after, only
        self.runs: dict[str, SyncedRun] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self.closed = threading.Event()

    def __enter__(self) -> WandbServer:
        self.server = _Listener(("127.0.0.1", 0), type("Bound", (_Handler,), {"owner": self}))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        if self.fault == "refuses" and not self.after:
            self.die()
        return self

    def __exit__(self, *error: object) -> None:
        self.closed.set()
        self.die()
        self.thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which W&B finds this server."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY}

    def die(self) -> None:
        """Close the port, so that every connection is refused from now on."""
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()

    def failing(self, request: str) -> bool:
        """Note a request; whether it meets the fault."""
        with self.lock:
            self.requests.append(request)
            return self.fault is not None and len(self.requests) > self.after and bool(re.search(self.only, request))

    def answer(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """The data of an answer to a GraphQL operation."""
        known = getattr(self, f"_{name}", None)
        return known(given) if known else {}

    def _Viewer(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"viewer": {**PEOPLE, "flags": "{}", "teams": {"edges": []}}}

    def _ServerFeaturesQuery(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"serverInfo": {"features": []}}

    def _RunResumeStatus(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self.runs.get(given["name"])
        if run is None:
            return {"model": {"name": given["project"], "entity": PEOPLE, "bucket": None}}
        lines = {name: list(run.lines.get(f"wandb-{name}.jsonl", {}).values()) for name in ("history", "events")}
        bucket = {
            "name": given["name"], "displayName": run.about.get("displayName"),
            "summaryMetrics": json.dumps(run.summary), "config": json.dumps({key: {"value": one} for key, one in run.config.items()}), "tags": run.about.get("tags"),
            "notes": None, "wandbConfig": json.dumps({"t": 1}),
            "logLineCount": 0, "historyLineCount": len(lines["history"]), "eventsLineCount": len(lines["events"]),
            "historyTail": json.dumps(lines["history"][-1:]), "eventsTail": json.dumps(lines["events"][-1:]),
        }  # fmt: skip
        return {"model": {"name": given["project"], "entity": PEOPLE, "bucket": bucket}}

    def _UpsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        name = given["name"]
        new = name not in self.runs
        run = self.runs.setdefault(name, SyncedRun())
        run.about |= {key: value for key, value in given.items() if value is not None}
        config = json.loads(given.get("config") or "{}")
        run.config |= {key: one.get("value") for key, one in config.items() if not key.startswith("_")}
        run.summary |= json.loads(given.get("summaryMetrics") or "{}")
        project = {"id": "1", "name": given.get("project") or "p", "entity": PEOPLE}
        bucket = {
            "id": name, "name": name, "displayName": given.get("displayName") or name, "description": "",
            "config": json.dumps(config), "sweepName": None, "project": project,
            "historyLineCount": len(run.lines.get("wandb-history.jsonl", {})),
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": new}}

    def _CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        files = [
            {"name": name, "uploadUrl": f"{self.url}/upload/{given['run']}/{name}"} for name in given.get("files", [])
        ]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def _ArtifactType(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"project": None}

    def _CreateArtifact(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        of, key = given["input"], f"artifact{len(self.artifacts)}"
        self.artifacts[key] = {"about": of, "files": {}, "committed": False}
        artifact = {"id": key, "state": "PENDING", "artifactSequence": {"id": key, "latestArtifact": None}}
        return {"createArtifact": {"artifact": artifact}}

    def _CreateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {
            "createArtifactManifest": {"artifactManifest": self._manifest(given["artifactID"], given["artifactID"])}
        }

    def _UpdateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        key = given["artifactManifestID"]
        return {"updateArtifactManifest": {"artifactManifest": self._manifest(key, key)}}

    def _manifest(self, key: str, artifact: str) -> dict[str, Any]:
        url = f"{self.url}/artifact/{artifact}/manifest"
        return {"id": key, "file": {"id": key, "uploadUrl": url, "uploadHeaders": []}}

    def _CreateArtifactFiles(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        nodes = [
            {
                "storagePath": one["name"], "uploadHeaders": [], "uploadMultipartUrls": None,
                "uploadUrl": f"{self.url}/artifact/{one['artifactID']}/{one['name']}",
                "artifact": {"id": one["artifactID"]},
            }
            for one in given["input"]["artifactFiles"]
        ]  # fmt: skip
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _CommitArtifact(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.artifacts[given["artifactID"]]["committed"] = True
        return {"commitArtifact": {"artifact": {"digest": ""}}}

    def stream(self, name: str, content: dict[str, Any]) -> None:
        """What is sent while a run goes on: lines of history, summary, output."""
        run = self.runs.setdefault(name, SyncedRun())
        for file, part in (content.get("files") or {}).items():
            lines = run.lines.setdefault(file, {})
            lines |= dict(enumerate(part["content"], start=part["offset"]))
            if file == "wandb-summary.json":
                run.summary |= json.loads(part["content"][-1])
        run.complete |= bool(content.get("complete"))

    def upload(self, kind: str, name: str, path: str, content: bytes) -> None:
        """A file of a run or of an artifact."""
        if kind == "artifact":
            self.artifacts[name]["files"][path] = content
        else:
            self.runs.setdefault(name, SyncedRun()).files[path] = content


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    # Threads that are silent for ever are not waited for.
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that were killed close their connections at any time."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: WandbServer

    def log_message(self, *args: Any) -> None:
        """Nothing is printed."""

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.path != "/graphql":
            if self._may_answer(self.path):
                with self.owner.lock:
                    self.owner.stream(self.path.split("/")[-2], content)
                self._reply(b"{}")
            return
        found = re.search(r"(?:query|mutation)\s+(\w+)", content.get("query", ""))
        name = content.get("operationName") or (found[1] if found else "")
        if self._may_answer(f"/graphql {name}"):
            with self.owner.lock:
                data = self.owner.answer(name, content.get("variables") or {})
            self._reply(json.dumps({"data": data}).encode())

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._may_answer(self.path):
            _, kind, name, path = self.path.split("/", 3)
            with self.owner.lock:
                self.owner.upload(kind, name, path, content)
            self._reply(b"")

    def do_GET(self) -> None:
        if self._may_answer(self.path):
            self._reply(b"{}")

    def _may_answer(self, request: str) -> bool:
        """Whether a request is answered as it should; a fault is acted out."""
        owner = self.owner
        if owner.closed.is_set():
            self.close_connection = True
            return False
        if not owner.failing(request):
            return True
        if owner.fault == "slow":
            time.sleep(1)
            return True
        if isinstance(owner.fault, int):
            self._reply(b'{"error": "of the test"}', owner.fault)
            return False
        if owner.fault == "refuses":
            owner.closed.set()
            threading.Thread(target=owner.die, daemon=True).start()
        else:
            owner.closed.wait()
        self.close_connection = True
        return False

    def _reply(self, content: bytes, status: int = 200) -> None:
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
