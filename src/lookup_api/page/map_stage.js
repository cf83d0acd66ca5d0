// The map's stage: two canvases, what is near the pointer, and moving about by mouse, fingers and keys.

import { clusterColour, element } from "./dom.js";
import { Discs, mixed, pixel } from "./map_drawing.js";

const SCALE = 10_000; // of the API's positions
const MARGIN = 28;
const MOST_ZOOM = 60;
const REACH = 14;
const STEP = 60;
const SLOW_MILLISECONDS = 7; // of the 16.7 that a frame has
const REST_MILLISECONDS = 150;

/** The colours of the page as it looks now. */
function colourOf(name) {
  const probe = element("span", { vars: { probe: `var(${name})` }, class: "probe" });
  document.body.append(probe);
  const parts = getComputedStyle(probe).color.match(/[\d.]+/gu).map(Number);
  probe.remove();
  return parts.slice(0, 3);
}

/**
 * @param points {count, x, y, cluster, names, label}: `x` and `y` typed arrays from 0 to 10,000, y upwards
 * @param acts {point(i), open(i)}: what is pointed at has changed (-1: nothing); a campaign is to be opened
 */
export function mapStage(points, acts, signal) {
  const plot = element("canvas", { class: "plot", "aria-hidden": "true" });
  const top = element("canvas", {
    class: "rings", tabindex: "0", role: "application", "aria-roledescription": "map", "aria-describedby": "map-keys",
    "aria-label": `Map of ${points.count.toLocaleString("en")} campaigns; the lists beside it hold the same`,
  });
  const tip = element("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const stage = element("div", { class: "stage" }, plot, top, tip);
  const discs = new Discs(plot), pen = top.getContext("2d");
  const view = { scale: 1, left: 0, top: 0 };
  let width = 0, height = 0, ratio = 1, hovered = -1, marked = -1, lit = -1, crosshair = false, waiting = false;
  let colours = {}, sharpMilliseconds = 0, coarse = false, resting = 0;

  const span = () => Math.min(width, height) - 2 * MARGIN;
  // The unit square keeps its shape where the stage is about square, and is stretched to at most twice its width.
  const spanAcross = () => Math.min(width - 2 * MARGIN, 2 * span());
  const spanDown = () => Math.min(height - 2 * MARGIN, 2 * span());
  const across = (i) => ((width - spanAcross()) / 2 + (points.x[i] / SCALE) * spanAcross()) * view.scale + view.left;
  const down = (i) => ((height - spanDown()) / 2 + (1 - points.y[i] / SCALE) * spanDown()) * view.scale + view.top;
  const radius = () => Math.min(7, (points.count > 20_000 ? 1.5 : points.count > 5_000 ? 2 : points.count > 1_000 ? 2.8 : 4) * Math.sqrt(view.scale));

  function renewColours() {
    const paper = colourOf("--card");
    const clusters = points.labels.map((_, cluster) => clusterColour(cluster));
    colours = {
      paper: pixel(paper), ink: `rgb(${colourOf("--ink").join(" ")})`, card: `rgb(${paper.join(" ")})`,
      bright: Uint32Array.from(clusters, (colour) => pixel(colour)),
      faint: Uint32Array.from(clusters, (colour) => pixel(mixed(colour, paper, 0.16))),
    };
  }

  function draw() {
    const began = performance.now();
    // Where fine screens make drawing slow, what moves is drawn coarsely, and sharply once it rests.
    const fine = coarse ? 1 : ratio;
    const [wide, high] = [Math.round(width * fine), Math.round(height * fine)];
    if (plot.width !== wide || plot.height !== high) Object.assign(plot, { width: wide, height: high });
    discs.begin(wide, high, Math.round(radius() * fine * 4) / 4, colours.paper);
    const { cluster } = points;
    const [fx, fy] = [(spanAcross() / SCALE) * view.scale * fine, (spanDown() / SCALE) * view.scale * fine];
    const left = (((width - spanAcross()) / 2) * view.scale + view.left) * fine;
    const bottom = (((height + spanDown()) / 2) * view.scale + view.top) * fine;
    // What is not lit lies below what is.
    for (const above of lit < 0 ? [true] : [false, true]) {
      const palette = above ? colours.bright : colours.faint;
      for (let i = 0; i < points.count; i++) {
        if (lit >= 0 && (cluster[i] === lit) !== above) continue;
        discs.add(left + points.x[i] * fx, bottom - points.y[i] * fy, palette[cluster[i]]);
      }
    }
    discs.end();
    drawRings();
    const milliseconds = performance.now() - began;
    if (!coarse) sharpMilliseconds = milliseconds;
    stage.dataset.milliseconds = milliseconds.toFixed(2);
  }

  function drawRings() {
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const ring = (i, wide) => {
      for (const [line, colour] of [[wide + 2, colours.card], [wide, colours.ink]]) {
        pen.lineWidth = line;
        pen.strokeStyle = colour;
        pen.beginPath();
        pen.arc(across(i), down(i), radius() + 4, 0, 7);
        pen.stroke();
      }
    };
    if (marked >= 0) ring(marked, 3);
    if (hovered >= 0) ring(hovered, 2);
    if (crosshair) {
      pen.lineWidth = 1;
      pen.strokeStyle = colours.ink;
      pen.beginPath();
      pen.moveTo(width / 2 - 9, height / 2); pen.lineTo(width / 2 + 9, height / 2);
      pen.moveTo(width / 2, height / 2 - 9); pen.lineTo(width / 2, height / 2 + 9);
      pen.stroke();
    }
  }

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; if (width && !signal.aborted) draw(); });
  }

  function fit() {
    const [wide, high] = [stage.clientWidth, stage.clientHeight]; // without its border, as the canvases are
    ratio = Math.min(2, window.devicePixelRatio || 1);
    // What was in the middle stays there.
    if (width) { view.left += ((wide - width) / 2) * view.scale; view.top += ((high - height) / 2) * view.scale; }
    [width, height] = [wide, high];
    Object.assign(top, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    settle();
  }

  function settle() {
    view.left = Math.min(0, Math.max(width - width * view.scale, view.left));
    view.top = Math.min(0, Math.max(height - height * view.scale, view.top));
    // A finger scrolls the page over the whole map, and moves the map once it is zoomed in.
    top.style.touchAction = view.scale > 1 ? "none" : "pan-y";
    redraw();
  }

  /** What is about to be drawn moves. */
  function moving() {
    coarse = ratio > 1 && (coarse || sharpMilliseconds > SLOW_MILLISECONDS);
    clearTimeout(resting);
    if (coarse) resting = setTimeout(() => { coarse = false; redraw(); }, REST_MILLISECONDS);
  }

  function zoom(factor, x = width / 2, y = height / 2) {
    const scale = Math.min(MOST_ZOOM, Math.max(1, view.scale * factor));
    view.left = x - ((x - view.left) * scale) / view.scale;
    view.top = y - ((y - view.top) * scale) / view.scale;
    view.scale = scale;
    moving();
    settle();
  }

  function move(dx, dy) {
    moving();
    view.left += dx;
    view.top += dy;
    settle();
  }

  function nearest(x, y, reach = REACH) {
    let best = -1, least = reach * reach;
    for (let i = 0; i < points.count; i++) {
      if (lit >= 0 && points.cluster[i] !== lit) continue;
      const distance = (across(i) - x) ** 2 + (down(i) - y) ** 2;
      if (distance < least) { least = distance; best = i; }
    }
    return best;
  }

  /** How many others lie on a campaign, so near that they cannot be pointed at. */
  function together(i) {
    let count = -1;
    for (let j = 0; j < points.count; j++) if ((across(j) - across(i)) ** 2 + (down(j) - down(i)) ** 2 < 2) count++;
    return count;
  }

  function hover(i) {
    if (i === hovered) return;
    hovered = i;
    tip.hidden = i < 0;
    if (i >= 0) {
      const here = together(i);
      tip.replaceChildren(element("b", {}, points.title(i)), element("br"), points.labels[points.cluster[i]] ?? "",
        here ? element("i", {}, ` and ${here} more just here`) : "");
      const x = across(i), y = down(i);
      tip.style.left = `${Math.max(0, Math.min(x + 14, width - tip.offsetWidth))}px`;
      tip.style.top = `${Math.max(0, y - tip.offsetHeight - 12)}px`;
    }
    top.style.cursor = i >= 0 ? "pointer" : "grab";
    drawRings();
    acts.point(i, crosshair);
  }

  const fingers = new Map();
  let moved = false, spread = 0;
  const place = (event) => {
    const box = top.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const on = (name, act, options = {}) => top.addEventListener(name, act, { signal, ...options });
  on("pointerdown", (event) => {
    top.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    moved = fingers.size > 1;
    spread = 0;
    crosshair = false;
  });
  on("pointermove", (event) => {
    const [x, y] = place(event), earlier = fingers.get(event.pointerId);
    if (!earlier) { crosshair = false; hover(nearest(x, y)); return; }
    if (fingers.size === 2) {
      fingers.set(event.pointerId, [x, y]);
      const [[ax, ay], [bx, by]] = fingers.values();
      const distance = Math.hypot(ax - bx, ay - by);
      if (spread) zoom(distance / spread, (ax + bx) / 2, (ay + by) / 2);
      spread = distance;
    } else if (moved || Math.hypot(x - earlier[0], y - earlier[1]) > 3) {
      fingers.set(event.pointerId, [x, y]);
      moved = true;
      hover(-1);
      move(x - earlier[0], y - earlier[1]);
    }
  });
  for (const name of ["pointerup", "pointercancel"]) {
    on(name, (event) => {
      const alone = fingers.size === 1;
      fingers.delete(event.pointerId);
      if (name === "pointercancel" || moved || !alone) return;
      const found = nearest(...place(event), event.pointerType === "mouse" ? REACH : 2 * REACH);
      // A finger has no hover: its first tap says what it is, the second opens it.
      if (found >= 0 && (event.pointerType === "mouse" || found === hovered)) acts.open(found);
      else hover(found);
    });
  }
  on("pointerleave", (event) => { if (event.pointerType === "mouse") hover(-1); });
  on("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    hover(-1);
    zoom(Math.exp((-event.deltaY * lines) / (event.ctrlKey ? 100 : 400)), ...place(event));
  }, { passive: false });
  on("keydown", (event) => {
    const moves = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key]) move(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "0") api.showAll();
    else if (event.key === "Enter" && hovered >= 0) { event.preventDefault(); acts.open(hovered); return; } else return;
    event.preventDefault();
    crosshair = true;
    // By keys one points with the middle of the map, at what is nearest to it, however far.
    hover(nearest(width / 2, height / 2, width + height));
    drawRings();
  });
  on("blur", () => { crosshair = false; hover(-1); drawRings(); });

  const sizes = new ResizeObserver(fit);
  sizes.observe(stage);
  signal.addEventListener("abort", () => sizes.disconnect());
  const looks = () => { renewColours(); redraw(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", looks, { signal });
  renewColours();

  const api = {
    stage, zoom,
    showAll() { Object.assign(view, { scale: 1, left: 0, top: 0 }); settle(); },
    /** What is seen of the map, to come back to: zoom and middle, as shares of the stage. */
    seen: () => ({ scale: view.scale, x: (width / 2 - view.left) / view.scale / width, y: (height / 2 - view.top) / view.scale / height }),
    see({ scale, x, y }) {
      fit();
      Object.assign(view, { scale, left: width / 2 - x * width * scale, top: height / 2 - y * height * scale });
      settle();
    },
    light(cluster) { lit = cluster; hover(-1); redraw(); },
    /** Ring a campaign and put it into the middle. */
    mark(i) {
      marked = i;
      fit();
      view.scale = 5;
      [view.left, view.top] = [0, 0];
      [view.left, view.top] = [width / 2 - across(i), height / 2 - down(i)];
      settle();
    },
  };
  return api;
}
