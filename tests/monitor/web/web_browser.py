"""Pages in Debian's chromium, with all that goes wrong on them."""

from __future__ import annotations

from typing import Any

from web_host import Served


class Opened:
    """A page of the browser that keeps what went wrong on it."""

    def __init__(self, browser: Any, served: Served, *, wide: bool = True) -> None:
        size = {"width": 1280 if wide else 390, "height": 850}
        self.context = browser.new_context(viewport=size, color_scheme="light" if wide else "dark", reduced_motion="reduce")
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.address = served.address.rstrip("/")
        self.wrong: list[str] = []
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.wrong.append(str(e)))
        self.page.on("request", lambda r: None if r.url.startswith((self.address, "blob:", "data:")) else self.wrong.append(f"left the host: {r.url}"))

    def go(self, path: str) -> Any:
        self.page.goto(self.address + path)
        return self.page

    def checked(self, where: str) -> None:
        """Nothing went wrong, nothing was run that came out of a name, and everybody can use it."""
        from axe_playwright_python.sync_playwright import Axe

        violations = [f"{v['id']}: {[n['html'][:150] for n in v['nodes'][:3]]}" for v in Axe().run(self.page).response["violations"]]
        assert not violations, f"{where}: {violations}"
        assert self.page.evaluate("() => window.hacked") is None, where
        assert self.page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 1, f"{where} is too wide"
        assert not self.wrong, f"{where}: {self.wrong}"
