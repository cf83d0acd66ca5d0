// The map of campaigns and, beside it, the same as lists: clusters, and the campaigns of one.

import { get, session } from "./api.js";
import { element, hashOf, number, plural, say, swatch } from "./dom.js";
import { mapStage } from "./map_stage.js";
import { fill } from "./states.js";

const AT_ONCE = 3;
const LISTED = 50;
let kept = null; // the last map of this tab, so that going back to it costs no request but the first part's

export async function mapView(main, parameters, signal, go) {
  document.title = "Map – Similar campaigns";
  const heading = element("h2", { tabindex: "-1" }, "Map of campaigns");
  const place = element("div");
  main.replaceChildren(heading, place);
  const progress = (done, of) => {
    const words = place.querySelector(".loading");
    if (words) words.lastChild.textContent = `Loading the map: part ${done} of ${of} …`;
  };
  await fill(place, "Loading the map …", () => load(progress, signal), (points) => show(points, parameters, signal, go), signal);
}

/** All parts of the map, of one version. */
async function load(progress, signal) {
  for (let attempt = 1; ; attempt++) {
    const first = await get("map", { part: 1 }, signal);
    const name = `${session.get("key")} ${first.model_version}`;
    if (kept?.name === name) return kept.points;
    const parts = [first];
    let next = 2, done = 1, stale = false;
    progress(done, first.parts);
    const fetchSome = async () => {
      while (next <= first.parts && !stale) {
        const part = next++;
        parts[part - 1] = await get("map", { part }, signal);
        stale ||= parts[part - 1].model_version !== first.model_version;
        progress(++done, first.parts);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, fetchSome));
    if (stale && attempt < 3) continue; // a version was published in between
    kept = { name, points: joined(parts) };
    return kept.points;
  }
}

function joined(parts) {
  const ids = parts.flatMap((part) => part.campaign_id), names = parts.flatMap((part) => part.name);
  const column = (name, kind) => kind.from(parts.flatMap((part) => part[name]));
  return {
    ids, count: ids.length, total: parts[0].total, labels: parts[0].cluster_labels,
    x: column("x", Float32Array), y: column("y", Float32Array), cluster: column("cluster", Uint16Array),
    title: (i) => names[i] || ids[i],
  };
}

function show(points, parameters, signal, go) {
  if (!points.count) return element("p", { class: "empty" }, "This key sees no campaign yet.");
  const open = (i) => {
    history.replaceState({ ...history.state, view: map.seen() }, ""); // so that going back finds the map as it was
    go(hashOf({ campaign: points.ids[i] }));
  };
  const map = mapStage(points, { point: (i, byKeys) => { if (byKeys && i >= 0) say(`${points.title(i)}, ${points.labels[points.cluster[i]]}`); }, open }, signal);
  const members = element("div", { class: "members" });
  const legend = clusterList(points, (cluster) => {
    map.light(cluster);
    listMembers(members, points, cluster);
    // The address is where one stands, so that going back from a campaign comes back here.
    history.replaceState(history.state, "", hashOf(cluster < 0 ? { map: "" } : { map: "", cluster }));
  });
  const button = (words, name, act) => element("button", { type: "button", "aria-label": name, on: { click: act } }, words);
  // Below the map and not on it: there they would cover campaigns.
  const buttons = element("div", { class: "buttons", role: "group", "aria-label": "Zoom" },
    button("+", "Zoom in", () => map.zoom(1.6)), button("−", "Zoom out", () => map.zoom(1 / 1.6)), button("All", "Show the whole map", map.showAll));
  const shown = points.count < points.total ? `${number(points.count)} of ${number(points.total)} campaigns, drawn by lot` : plural(points.count, "campaign");
  const parts = [
    element("p", { class: "note" }, `${shown}. Near campaigns are about the same thing; far distances mean nothing. A colour is a cluster.`),
    element("div", { class: "map" },
      element("div", {}, map.stage, buttons, element("p", { class: "note", id: "map-keys" },
        element("span", { class: "by-finger" }, "Two fingers zoom, and one moves the map then. A tap says what a campaign is, a second one opens it. "),
        element("span", { class: "by-mouse" }, "Wheel or pinch to zoom, drag to move, click to open. Once the map has the focus: arrow keys, + and −, 0 for all; Enter opens the campaign nearest to the middle."))),
      element("div", { class: "beside" }, element("h3", { id: "clusters" }, "Clusters"), legend.list, members)),
  ];
  const wanted = parameters.has("campaign") ? points.ids.indexOf(parameters.get("campaign")) : -1;
  const cluster = Number.parseInt(parameters.get("cluster"), 10);
  requestAnimationFrame(() => {
    if (signal.aborted) return;
    const { view } = history.state ?? {};
    if (wanted >= 0) map.mark(wanted);
    if (view) map.see(view);
    if (cluster >= 0 && cluster < points.labels.length) legend.choose(cluster);
  });
  if (parameters.has("campaign")) {
    parts.unshift(element("p", {}, wanted >= 0 ? `${points.title(wanted)} has a ring around it. ` : "The campaign is not on the map: it shows a part of all campaigns. ",
      element("a", { href: hashOf({ campaign: parameters.get("campaign") }) }, "Back to the campaign")));
  }
  return parts;
}

/** Clusters by size, as buttons of which one is pressed. */
function clusterList(points, chosen) {
  const sizes = new Array(points.labels.length).fill(0);
  for (let i = 0; i < points.count; i++) sizes[points.cluster[i]]++;
  const order = sizes.map((_, cluster) => cluster).filter((cluster) => sizes[cluster]).sort((one, other) => sizes[other] - sizes[one]);
  let pressed = -1;
  const buttons = new Map();
  const choose = (cluster) => {
    pressed = cluster === pressed ? -1 : cluster;
    for (const [one, button] of buttons) button.setAttribute("aria-pressed", String(one === pressed));
    chosen(pressed);
  };
  const list = element("ul", { class: "legend", "aria-labelledby": "clusters" }, order.map((cluster) => {
    const button = element("button", { type: "button", "aria-pressed": "false", on: { click: () => choose(cluster) } },
      swatch(cluster), element("span", {}, points.labels[cluster]), element("span", { class: "count" }, number(sizes[cluster])));
    buttons.set(cluster, button);
    return element("li", {}, button);
  }));
  return { list, choose };
}

/** The campaigns of a cluster by name: what the map shows, for who cannot see it. */
function listMembers(place, points, cluster) {
  if (cluster < 0) { place.replaceChildren(); return; }
  const members = [];
  for (let i = 0; i < points.count; i++) if (points.cluster[i] === cluster) members.push(i);
  members.sort((one, other) => points.title(one).localeCompare(points.title(other), "en", { numeric: true }));
  const list = element("ol");
  const more = element("button", { type: "button", on: { click: () => add(true) } });
  const add = (focus = false) => {
    const from = list.childElementCount;
    list.append(...members.slice(from, from + LISTED).map((i) => element("li", {}, element("a", { href: hashOf({ campaign: points.ids[i] }) }, points.title(i)))));
    const left = members.length - list.childElementCount;
    more.hidden = !left;
    more.textContent = `${number(Math.min(left, LISTED))} more of ${number(left)}`;
    if (focus) list.children[from].firstChild.focus();
  };
  add();
  place.replaceChildren(element("h3", {}, points.labels[cluster]), list, more);
  say(`${plural(members.length, "campaign")} of the cluster ${points.labels[cluster]} are listed`);
}
