"""The analysts' page draws a map of 50,000 campaigns: how long a frame takes, and how regularly frames come.

``python -m benchmarks.page_map`` serves the page, answers ``/v1/map`` with a generated map of 60 clusters in parts as
large as the API's, and zooms and drags it in a headless Chromium, an event a frame. Told are the milliseconds that
drawing takes of the page's one thread, and those between frames; at 60 frames a second there are 16.7 for all of it.
A headless Chromium has no graphics card here, so composing the page is part of the second figure.
"""

from __future__ import annotations

import argparse
import json
import shutil
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import uvicorn

from lookup_api.app import bare_app

CLUSTERS, PART = 60, 4_000
SCREENS = ((360, 1.0), (1280, 1.0), (1280, 2.0), (1920, 1.0))
GESTURES = """async () => {
  const stage = document.querySelector(".stage"), canvas = document.querySelector("canvas.rings");
  const box = canvas.getBoundingClientRect();
  const at = (share, more = {}) => ({
    bubbles: true, cancelable: true, pointerId: 1, pointerType: "mouse",
    clientX: box.x + box.width * (0.5 + 0.3 * Math.sin(share * 6)), clientY: box.y + box.height * 0.5, ...more,
  });
  canvas.setPointerCapture = () => {};
  const frames = { hover: [], zoom: [], drag: [] }, draws = { zoom: [], drag: [] };
  const frame = () => new Promise(requestAnimationFrame);
  async function run(kind, act) {
    await frame();
    let before = await frame();
    for (let step = 0; step < 150; step++) {
      act(step);
      const now = await frame();
      frames[kind].push(now - before);
      before = now;
      if (draws[kind]) draws[kind].push(Number(stage.dataset.milliseconds));
    }
  }
  await run("hover", (step) => canvas.dispatchEvent(new PointerEvent("pointermove", at(step / 150))));
  const wheel = (deltaY) => canvas.dispatchEvent(new WheelEvent("wheel", at(0, { deltaY })));
  await run("zoom", (step) => wheel(step % 100 < 50 ? -24 : 24));
  wheel(-150);
  canvas.dispatchEvent(new PointerEvent("pointerdown", at(0)));
  await run("drag", (step) => canvas.dispatchEvent(new PointerEvent("pointermove", at(step / 150))));
  return { frames, draws };
}"""


def parts_of(campaigns: int, seed: int) -> list[dict[str, Any]]:
    """A map as the API answers with it, in parts."""
    draw = np.random.RandomState(seed)
    cluster = draw.randint(0, CLUSTERS, campaigns)
    centres = draw.uniform(0.05, 0.95, (CLUSTERS, 2))
    places = np.clip(centres[cluster] + draw.normal(0, 0.025, (campaigns, 2)), 0, 1) * 10_000
    parts = -(-campaigns // PART)
    labels = [f"cluster of words {number}" for number in range(CLUSTERS)]
    return [
        {
            "model_version": "0123456789ab",
            "part": number + 1,
            "parts": parts,
            "total": campaigns,
            "campaign_id": [f"1800{row:08d}" for row in rows],
            "name": [f"UK | Search | Campaign of some length {row}" for row in rows],
            "x": places[rows, 0].astype(int).tolist(),
            "y": places[rows, 1].astype(int).tolist(),
            "cluster": cluster[rows].tolist(),
            "cluster_labels": labels,
        }
        for number in range(parts)
        for rows in [range(number * PART, min(campaigns, (number + 1) * PART))]
    ]


def told(values: Sequence[float]) -> str:
    """Median, 95th percentile and largest."""
    median, high, most = np.percentile(values, [50, 95, 100])
    return f"{median:6.1f} {high:6.1f} {most:6.1f}"


def main() -> None:
    """Measure at several sizes of screen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    parts = [json.dumps(part) for part in parts_of(options.campaigns, options.seed)]
    server = uvicorn.Server(uvicorn.Config(bare_app(), port=0, log_level="error", lifespan="off"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    megabytes = sum(map(len, parts)) / 1e6
    print(f"{options.campaigns:,} campaigns, {megabytes:.1f} MB in {len(parts)} parts, seed {options.seed}")
    print("milliseconds: median, 95th percentile, largest\n")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width, ratio in SCREENS:
            context = browser.new_context(viewport={"width": width, "height": 1000}, device_scale_factor=ratio)
            context.add_init_script("if (location.protocol === 'http:') sessionStorage.setItem('key', 'any')")
            tab = context.new_page()
            tab.route(
                "**/v1/map?*",
                lambda route: route.fulfill(
                    content_type="application/json", body=parts[int(route.request.url.partition("part=")[2]) - 1]
                ),
            )
            began = time.perf_counter()
            tab.goto(f"http://127.0.0.1:{port}/page#map=")
            tab.wait_for_selector(".stage[data-milliseconds]")
            opened = time.perf_counter() - began
            found = tab.evaluate(GESTURES)
            print(f"{width} pixels wide, {ratio:g} a CSS pixel: shown after {opened:.1f} s")
            for kind, frames in found["frames"].items():
                drawing = told(found["draws"][kind]) if kind in found["draws"] else " " * 20
                print(f"  {kind:5}  drawing {drawing}   between frames {told(frames)}")
            context.close()
        browser.close()
    server.should_exit = True


if __name__ == "__main__":
    main()
