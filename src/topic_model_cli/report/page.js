"use strict";
// The map of campaigns. Text is only ever set as text, never as HTML.
(() => {
  const canvas = document.getElementById("stage");
  if (!canvas) return;
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const count = data.ids.length;
  const pen = canvas.getContext("2d");
  const tip = document.getElementById("tip");
  const view = { scale: 1, left: 0, top: 0 };
  let width = 0, height = 0, hovered = -1, chosen = -1, lit = -1;

  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const label = (cluster) => (data.clusters[cluster] ? data.clusters[cluster][0] : `cluster ${cluster}`);
  const fill = (cluster) => (data.clusters[cluster] ? data.clusters[cluster][2] : colour("--soft"));
  const margin = 24, buttons = 46; // the buttons stand in the top right corner
  const across = (i) => (margin + data.x[i] * (width - 2 * margin)) * view.scale + view.left;
  const down = (i) => (buttons + (1 - data.y[i]) * (height - buttons - margin)) * view.scale + view.top;

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const near = chosen >= 0 ? data.similar[chosen].filter((entry) => entry[0] < count) : [];
    const kept = new Set(near.map((entry) => entry[0]).concat(chosen));
    const radius = Math.min(7, (count > 3000 ? 2.4 : count > 1000 ? 3.1 : 4) * Math.sqrt(view.scale));
    for (let i = 0; i < count; i++) {
      const dim = (lit >= 0 && data.cluster[i] !== lit) || (chosen >= 0 && !kept.has(i));
      pen.globalAlpha = dim ? 0.16 : 0.85;
      pen.fillStyle = fill(data.cluster[i]);
      pen.beginPath();
      pen.arc(across(i), down(i), radius, 0, 7);
      pen.fill();
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = colour("--ink");
    pen.lineWidth = 1;
    for (const [i] of near) {
      pen.beginPath();
      pen.moveTo(across(chosen), down(chosen));
      pen.lineTo(across(i), down(i));
      pen.stroke();
    }
    for (const i of new Set([chosen, hovered])) {
      if (i < 0) continue;
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(across(i), down(i), radius + 4, 0, 7);
      pen.stroke();
    }
  }

  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };

  function fit() {
    const box = canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    width = box.width;
    height = box.height;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    redraw();
  }

  function zoom(factor, x = width / 2, y = height / 2) {
    const scale = Math.min(40, Math.max(1, view.scale * factor));
    view.left = x - ((x - view.left) * scale) / view.scale;
    view.top = y - ((y - view.top) * scale) / view.scale;
    view.scale = scale;
    settle();
  }

  function settle() {
    view.left = Math.min(0, Math.max(width - width * view.scale, view.left));
    view.top = Math.min(0, Math.max(height - height * view.scale, view.top));
    // A finger scrolls the page over the whole map, and moves the map once it is zoomed in.
    canvas.style.touchAction = view.scale > 1 ? "none" : "pan-y";
    redraw();
  }

  function showAll() {
    Object.assign(view, { scale: 1, left: 0, top: 0 });
    settle();
  }

  function nearest(x, y) {
    let best = -1, least = 14 * 14;
    for (let i = 0; i < count; i++) {
      if (lit >= 0 && data.cluster[i] !== lit) continue;
      const distance = (across(i) - x) ** 2 + (down(i) - y) ** 2;
      if (distance < least) { least = distance; best = i; }
    }
    return best;
  }

  function point(x, y) {
    hovered = nearest(x, y);
    tip.hidden = hovered < 0;
    if (hovered >= 0) {
      tip.replaceChildren(element("b", data.names[hovered]), element("br"), label(data.cluster[hovered]));
      const left = Math.min(across(hovered) + 14, width - tip.offsetWidth);
      tip.style.left = `${Math.max(0, left)}px`;
      tip.style.top = `${Math.max(0, down(hovered) - tip.offsetHeight - 12)}px`;
    }
    canvas.style.cursor = hovered >= 0 ? "pointer" : "grab";
    redraw();
  }

  const topicWords = (topic) => data.terms[topic] || `topic ${topic}`;
  const panel = document.getElementById("chosen");

  function choose(i, focus = false) {
    chosen = i;
    if (i < 0) {
      panel.replaceChildren(element("p", "No campaign is selected.", { class: "soft" }));
      redraw();
      return;
    }
    const heading = element("h3", data.names[i], { tabindex: "-1" });
    const about = element("p", undefined, { class: "note" });
    const swatch = element("span", undefined, { class: "swatch" });
    swatch.style.background = fill(data.cluster[i]);
    about.append(`${data.channels[data.channel[i]] || ""} · ${data.ids[i]} · `, swatch, label(data.cluster[i]));
    const chips = element("ul", undefined, { class: "chips", "aria-label": "Topics" });
    for (const [topic, percent] of data.topics[i]) {
      const chip = element("li");
      chip.append(element("b", `${percent}%`), ` ${topicWords(topic)}`);
      chips.append(chip);
    }
    const list = element("ol");
    for (const [other, similarity, ...topics] of data.similar[i]) {
      const item = element("li");
      if (other < count) {
        const button = element("button", data.names[other], { type: "button" });
        button.addEventListener("click", () => choose(other, true));
        item.append(button);
      } else item.append(data.names[other]);
      const shared = topics.map(topicWords).join("; ") || "no topic in common";
      item.append(` ${similarity.toFixed(2)}`, element("small", shared));
      list.append(item);
    }
    const words = data.keywords[i].map(([keyword, campaigns]) => `${keyword} (${campaigns})`).join(", ");
    const clear = element("button", "Clear selection", { type: "button" });
    clear.addEventListener("click", () => { choose(-1); canvas.focus(); });
    panel.replaceChildren(
      heading, about, chips,
      element("h4", data.similar[i].length ? "Similar campaigns" : "No campaign is similar enough"), list,
      element("p", words ? `Recommended keywords, with how many of them use each: ${words}.` : "No keyword is recommended."),
      clear,
    );
    if (focus) heading.focus({ preventScroll: true });
    redraw();
  }

  const fingers = new Map();
  let moved = false, spread = 0;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    moved = fingers.size > 1;
    spread = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    const before = fingers.get(event.pointerId);
    if (!before) { point(x, y); return; }
    fingers.set(event.pointerId, [x, y]);
    if (fingers.size === 2) {
      const [[ax, ay], [bx, by]] = fingers.values();
      const distance = Math.hypot(ax - bx, ay - by);
      if (spread) zoom(distance / spread, (ax + bx) / 2, (ay + by) / 2);
      spread = distance;
    } else if (moved || Math.hypot(x - before[0], y - before[1]) > 3) {
      moved = true;
      view.left += x - before[0];
      view.top += y - before[1];
      tip.hidden = true;
      settle();
    } else fingers.set(event.pointerId, before);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      fingers.delete(event.pointerId);
      if (name === "pointerup" && !moved) {
        const [x, y] = place(event);
        point(x, y);
        choose(hovered);
      }
    });
  }
  canvas.addEventListener("pointerleave", () => { hovered = -1; tip.hidden = true; redraw(); });
  // The page keeps its own scrolling: the wheel zooms only with Ctrl, or once the map has the focus.
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== canvas) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), ...place(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = 60;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (moves[event.key]) { view.left += moves[event.key][0]; view.top += moves[event.key][1]; settle(); }
    else if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "0") showAll();
    else if (event.key === "Escape") choose(-1);
    else return;
    event.preventDefault();
  });
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => {
      if (button.dataset.zoom === "all") { light(-1); choose(-1); showAll(); }
      else zoom(button.dataset.zoom === "in" ? 1.6 : 1 / 1.6);
    });
  }

  const legend = document.getElementById("legend");
  function light(cluster) {
    lit = cluster;
    for (const button of legend.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.cluster) === lit));
    }
    redraw();
  }
  data.clusters.forEach(([name, campaigns, hue], cluster) => {
    const button = element("button", undefined, { type: "button", "aria-pressed": "false", "data-cluster": cluster });
    const dot = element("i");
    dot.style.background = hue;
    button.append(dot, element("span", name), element("span", campaigns.toLocaleString("en"), { class: "count" }));
    button.addEventListener("click", () => light(lit === cluster ? -1 : cluster));
    const item = element("li");
    item.append(button);
    legend.append(item);
  });

  const find = document.getElementById("find"), matches = document.getElementById("matches");
  find.addEventListener("input", () => {
    const wanted = find.value.trim().toLowerCase();
    matches.replaceChildren();
    if (!wanted) return;
    let shown = 0;
    for (let i = 0; i < count && shown < 6; i++) {
      if (!data.names[i].toLowerCase().includes(wanted) && !data.ids[i].toLowerCase().includes(wanted)) continue;
      const button = element("button", data.names[i], { type: "button" });
      button.addEventListener("click", () => { light(-1); choose(i, true); });
      const item = element("li");
      item.append(button);
      matches.append(item);
      shown++;
    }
    if (!shown) matches.append(element("li", "No campaign of that name is on the map."));
  });

  new ResizeObserver(fit).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  matchMedia("print").addEventListener("change", fit);
})();
