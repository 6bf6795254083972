"""Check within a deadline whether network addresses are reachable."""

import socket
import threading


def connection_problem(host: str, port: int, *, timeout_s: float) -> str | None:
    """Return why no connection to an address can be made within a time; None if one can be made.

    The deadline includes the resolution of the name, which the system may otherwise try for much longer.
    """
    problems: list[str | None] = []
    thread = threading.Thread(target=lambda: problems.append(_connect(host, port, timeout_s=timeout_s)), daemon=True)
    thread.start()
    thread.join(timeout_s)
    return problems[0] if problems else f"no answer within {timeout_s:g} s"


def _connect(host: str, port: int, *, timeout_s: float) -> str | None:
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except (OSError, UnicodeError) as err:
        return getattr(err, "strerror", None) or str(err) or type(err).__name__
    return None
