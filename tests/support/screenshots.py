"""The pictures of the console: `make screenshots`, from `stopline demo --console`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

from tests.conftest import free_port

_PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"
_LIVELY_S: Final = 75
"""So long the mix goes on before, so that there is something to see."""


def main() -> int:
    """Start a demo, let it go on for a while, and take pictures of it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    demo = subprocess.Popen(
        [sys.executable, "-m", "stopline.cli", "demo", "--console", "--port", str(port)]
    )
    try:
        _wait_for(f"{url}/livez")
        time.sleep(_LIVELY_S)
        _PICTURES.mkdir(exist_ok=True)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            for scheme in ("light", "dark"):
                page = browser.new_context(
                    viewport={"width": 1200, "height": 800},
                    color_scheme=scheme,  # type: ignore[arg-type]  # it is one of them
                ).new_page()
                page.goto(f"{url}/console/")
                page.wait_for_timeout(3_000)
                page.screenshot(path=_PICTURES / f"overview-{scheme}.png")
                page.goto(f"{url}/console/requests?state=waiting")
                first = page.locator("tbody a").first.get_attribute("href") or ""
                assert re.match("/console/requests/", first)
                page.goto(f"{url}{first}")
                page.wait_for_timeout(1_000)
                page.screenshot(path=_PICTURES / f"request-{scheme}.png")
            browser.close()
    finally:
        demo.terminate()
        demo.wait(60)
    return 0


def _wait_for(url: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    sys.exit(f"{url} does not answer")


if __name__ == "__main__":
    sys.exit(main())
