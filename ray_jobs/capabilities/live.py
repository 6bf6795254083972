"""`mlprune status --web`: a page in the browser that follows the runs of a store."""

import socket
from typing import Annotated

import typer

from mlprune.errors import BadInputError
from mlprune.store.store import Store
from ray_jobs.cli.options import StoreOption, echo
from ray_jobs.process.installed import install_command


def serve(
    *,
    store: StoreOption,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 chooses a free one.")] = 0,
) -> None:
    """Serve a page that follows the runs of a store: progress, best so far, failures, SQL and the report.

    It listens on this machine only, and only reads. Open the printed address, which contains a secret token. From
    another machine, forward the port by ssh and open the same address there. Ctrl+C stops it.

    \b
    Examples:
      mlprune status --web --store runs/
      mlprune status --web --store runs/ --port 8123
    """
    try:
        from catalog.capabilities.live.report_child import render_in_child  # noqa: PLC0415 - an extra
        from catalog.capabilities.live.server import Sources, live_server  # noqa: PLC0415
        from catalog.capabilities.live.watcher import runs_reader  # noqa: PLC0415
    except ModuleNotFoundError as err:
        raise BadInputError(
            "the extra serve is not installed", expected=install_command("serve"), got=str(err)
        ) from err
    opened = Store(store)
    opened.require_current_version()
    sources = Sources(opened, read_runs=runs_reader(opened), render_report=render_in_child(opened.uri))
    with live_server(sources, port=port) as server:
        if not opened.list("records"):
            echo("The store has no records yet; the page shows a run as soon as it starts.", err=True)
        echo(server.address)
        echo(
            f"From another machine: ssh -N -L {server.port}:127.0.0.1:{server.port} {socket.gethostname()}, then open "
            "the address there. Ctrl+C stops the server.",
            err=True,
        )
        server.run()
        echo("stopped", err=True)
