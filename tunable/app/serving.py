"""The app as a server on this machine."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException
from gradio.themes import Default
from starlette.requests import ClientDisconnect

from tunable.app.page import Page
from tunable.errors import TunableError, one_line

FILE_SIZE = "256mb"  # of a photograph's file
# Fonts of the reader's machine: nothing is fetched
THEME = Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def _in_one_line(record: logging.LogRecord) -> bool:
    """Let a record of the server's log pass, without the traceback of a request that failed.

    Two such failures are none of the server's. A reader leaves while a request is still being sent. A reader whose
    connection broke off asks for the rest, and Gradio, which has forgotten the reader, answers "not found" in a stream
    that has begun.
    """
    error = record.exc_info and record.exc_info[1]
    if error:
        if isinstance(error, ClientDisconnect) or isinstance(error.__cause__, HTTPException):
            return False
        record.msg, record.exc_info = f"a request failed: {type(error).__name__}: {one_line(str(error))}", None
        record.args = ()
    return True


@contextmanager
def serve(page: Page, *, host: str = "127.0.0.1", port: int | None = None, browser: bool = False) -> Iterator[str]:
    """Serve a page while the context is open.

    Args:
        page: what is served.
        host: the address of this machine that is listened on; only 127.0.0.1 keeps others out.
        port: to listen on; None: the first free one from 7860 on.
        browser: whether to open the page in the reader's browser.

    Yields:
        Its address.

    Raises:
        TunableError: where the port or the address cannot be had.
    """
    logging.getLogger("uvicorn.error").addFilter(_in_one_line)
    blocks = page.blocks().queue(max_size=64)
    try:
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            inbrowser=browser,
            prevent_thread_lock=True,
            share=False,
            max_file_size=FILE_SIZE,
            allowed_paths=[page.folder],
            theme=THEME,
            quiet=True,
            footer_links=[],
        )
    except OSError as error:
        page.close()
        raise TunableError(f"cannot listen on {host}{f':{port}' if port else ''}: {one_line(str(error))}") from None
    try:
        yield address
    finally:
        blocks.close(verbose=False)
        page.close()
