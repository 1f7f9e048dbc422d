"""The app as a server on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager

from gradio.themes import Default

from tunable.app.page import Page
from tunable.errors import TunableError, one_line

FILE_SIZE = "256mb"  # of a photograph's file
# Fonts of the reader's machine: nothing is fetched
THEME = Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


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
