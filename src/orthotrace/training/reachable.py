"""Whether a server answers at all, told within seconds."""

from __future__ import annotations

import json
import ssl
import threading
import urllib.error
import urllib.request

# Seconds for which an answer is waited for.
ANSWER = 5.0
SILENT = f"no answer within {ANSWER:.0f} s"


def no_answer(server: str) -> str | None:
    """Why a server does not answer a question within ANSWER seconds; None where it does.

    Example:
        >>> no_answer("http://127.0.0.1:1")
        'connection refused'
    """
    found: list[str | None] = []

    def ask() -> None:
        question = json.dumps({"query": "query Viewer { viewer { id } }"}).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "orthotrace"}
        request = urllib.request.Request(f"{server.rstrip('/')}/graphql", question, headers)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER):
                found.append(None)
        except urllib.error.HTTPError as error:
            # What else than 5xx is wrong, such as the login, W&B tells when the run is opened.
            found.append(f"HTTP {error.code}" if error.code >= 500 else None)
        except Exception as error:
            cause = getattr(error, "reason", error)
            # W&B has certificates of its own.
            own = isinstance(cause, ssl.SSLError)
            silent = isinstance(cause, TimeoutError)
            text = (
                SILENT if silent else (getattr(cause, "strerror", None) or str(cause) or type(cause).__name__).lower()
            )
            found.append(None if own else text)

    # In a thread: names may take long to be looked up, which no timeout of a connection counts.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER)
    return found[0] if found else SILENT
