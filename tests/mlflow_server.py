"""A tracking server of MLflow on loopback: the requests of MLflow's REST API that the sink makes, with its limits."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.served import answering

PREFIX = "/api/2.0/mlflow/"
MOST_IN_BATCH = {"metrics": 1000, "params": 100, "tags": 100}
LONGEST = {"key": 250, "value": 8000, "run_name": 250}


class RefusedError(Exception):
    """A request that the server refuses, with the status and MLflow's code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class TrackingServer:
    """Experiments and runs in memory."""

    def __init__(self) -> None:
        self.uri = ""
        self.experiments: dict[str, str] = {}
        """Name -> id."""
        self.runs: dict[str, dict[str, Any]] = {}
        """Id -> name, status, tags, params, metrics."""

    def answer(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request."""
        handlers = {
            "experiments/get-by-name": self._experiment,
            "experiments/create": self._create_experiment,
            "runs/search": self._search,
            "runs/create": self._create_run,
            "runs/log-batch": self._log,
            "runs/update": self._update,
            "runs/get": lambda asked: {"run": self._run(asked["run_id"])},
        }
        return handlers[path.removeprefix(PREFIX)](request)

    def _experiment(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["experiment_name"]
        if name not in self.experiments:
            raise RefusedError(404, "RESOURCE_DOES_NOT_EXIST", f"no experiment {name}")
        return {"experiment": {"experiment_id": self.experiments[name], "name": name, "lifecycle_stage": "active"}}

    def _create_experiment(self, request: dict[str, Any]) -> dict[str, Any]:
        self.experiments[request["name"]] = str(len(self.experiments) + 1)
        return {"experiment_id": self.experiments[request["name"]]}

    def _create_run(self, request: dict[str, Any]) -> dict[str, Any]:
        if len(request["run_name"]) > LONGEST["run_name"]:
            raise RefusedError(400, "INVALID_PARAMETER_VALUE", "the name of a run is too long")
        run_id = f"{len(self.runs):032x}"
        tags = {tag["key"]: tag["value"] for tag in request.get("tags", ())}
        self.runs[run_id] = {
            "name": request["run_name"],
            "status": "RUNNING",
            "tags": tags,
            "params": {},
            "metrics": {},
        }
        return {"run": self._run(run_id)}

    def _log(self, request: dict[str, Any]) -> dict[str, Any]:
        run = self.runs[request["run_id"]]
        for kind, most in MOST_IN_BATCH.items():
            entries = request.get(kind, [])
            too_long = [one["key"] for one in entries if len(one["key"]) > LONGEST["key"]]
            too_long += [one["key"] for one in entries if len(str(one["value"])) > LONGEST["value"]]
            changed = [
                one["key"]
                for one in entries
                if kind == "params" and run[kind].get(one["key"], one["value"]) != one["value"]
            ]
            if len(entries) > most or too_long or changed:
                raise RefusedError(400, "INVALID_PARAMETER_VALUE", f"{kind}: {len(entries)}, {too_long}, {changed}")
            run[kind].update({one["key"]: one["value"] for one in entries})
        return {}

    def _update(self, request: dict[str, Any]) -> dict[str, Any]:
        self.runs[request["run_id"]]["status"] = request["status"]
        return {"run_info": self._run(request["run_id"])["info"]}

    def _search(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the runs two at a time, as pages."""
        start = int(request.get("page_token") or 0)
        ids = list(self.runs)[start : start + 2]
        more = {"next_page_token": str(start + 2)} if start + 2 < len(self.runs) else {}
        return {"runs": [self._run(run_id) for run_id in ids], **more}

    def _run(self, run_id: str) -> dict[str, Any]:
        run = self.runs[run_id]
        info = {
            "run_id": run_id,
            "run_uuid": run_id,
            "experiment_id": "1",
            "run_name": run["name"],
            "status": run["status"],
        }
        pairs = {
            kind: [{"key": key, "value": value} for key, value in run[kind].items()] for kind in ("params", "tags")
        }
        metrics = [{"key": key, "value": value, "timestamp": 0, "step": 0} for key, value in run["metrics"].items()]
        return {
            "info": {**info, "lifecycle_stage": "active", "artifact_uri": "", "start_time": 0},
            "data": {**pairs, "metrics": metrics},
        }


@contextmanager
def tracking_server() -> Iterator[TrackingServer]:
    """Serve on loopback until the end of the block."""
    server = TrackingServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            self._send({name: values[0] for name, values in query.items()})

        def do_POST(self) -> None:
            self._send(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _send(self, request: dict[str, Any]) -> None:
            status = 200
            try:
                reply = server.answer(urlsplit(self.path).path, request)
            except RefusedError as err:
                status, reply = err.status, {"error_code": err.code, "message": str(err)}
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.uri = f"http://127.0.0.1:{http.server_address[1]}"
    with answering(http):
        yield server
