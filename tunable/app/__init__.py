"""A page in the browser with a slider for every knob: `tunable app` (`page`; what it shows is `views`)."""

import os

# Before Gradio is imported: it sends usage statistics otherwise, and asks for its newest version.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
