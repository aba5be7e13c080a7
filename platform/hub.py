"""The Hugging Face hub, and the libraries that load models from it: without long waits, and without noise."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_HUB_TIMEOUT = 5.0  # seconds to find out that there is no network; the libraries themselves try for a minute


@contextmanager
def hub(*, offline: bool) -> Iterator[None]:
    """Keep the Hugging Face hub to its local cache where nothing need be fetched, or nothing can be."""
    from huggingface_hub import constants, get_session

    before = constants.HF_HUB_OFFLINE
    if not offline:
        try:
            get_session().head(constants.ENDPOINT, timeout=_HUB_TIMEOUT)
        except Exception:  # the HTTP library under the hub changes between its releases
            offline = True
    constants.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, log lines or warnings of the libraries; errors still come as exceptions."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    handlers, disabled = logging.root.handlers[:], logging.root.manager.disable
    transformers_logging.disable_progress_bar()
    disable_progress_bars()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        logging.root.handlers[:] = handlers  # open_clip logs through the root logger, which installs one
        if bars[0]:
            transformers_logging.enable_progress_bar()
        if bars[1]:
            enable_progress_bars()
