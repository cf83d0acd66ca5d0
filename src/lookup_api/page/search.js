// Finding campaigns: a combobox that suggests while one types, and a list of all matches, a page at a time.

import { get } from "./api.js";
import { element, hashOf, number, plural, say, title } from "./dom.js";
import { fill } from "./states.js";

const SUGGESTED = 8;
const PAUSE_MILLISECONDS = 180;

/** The combobox of the header (ARIA's pattern with a listbox): arrows choose, Enter opens, Escape closes. */
export function searchBox(go) {
  const form = document.getElementById("find"), input = document.getElementById("query");
  const list = document.getElementById("suggestions");
  let options = [], active = -1, timer = 0, asking = new AbortController();

  function close() {
    clearTimeout(timer);
    asking.abort();
    list.hidden = true;
    list.replaceChildren();
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    [options, active] = [[], -1];
  }

  function point(place) {
    active = place;
    options.forEach(({ shown }, at) => shown.setAttribute("aria-selected", String(at === active)));
    if (active < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", options[active].shown.id);
      options[active].shown.scrollIntoView({ block: "nearest" });
    }
  }

  function open(hash) {
    close();
    go(hash);
  }

  function option(hash, ...children) {
    const shown = element("li", { role: "option", id: `option-${options.length}`, "aria-selected": "false" }, ...children);
    // Not a click: by then the box has lost the focus and closed the list.
    shown.addEventListener("pointerdown", (event) => event.preventDefault());
    shown.addEventListener("click", () => open(hash));
    options.push({ shown, hash });
    list.append(shown);
  }

  async function suggest() {
    asking.abort();
    asking = new AbortController();
    const { signal } = asking, query = input.value.trim();
    if (!query) { close(); return; }
    let found;
    try {
      found = await get("campaigns", { query }, signal);
    } catch (error) {
      if (!signal.aborted) { close(); if (error.kind === "key") document.dispatchEvent(new CustomEvent("key-refused")); }
      return;
    }
    if (signal.aborted || document.activeElement !== input) return;
    [options, active] = [[], -1];
    list.replaceChildren();
    input.removeAttribute("aria-activedescendant");
    for (const campaign of found.campaigns.slice(0, SUGGESTED)) {
      option(hashOf({ campaign: campaign.campaign_id }), element("b", {}, title(campaign)), element("small", {}, about(campaign)));
    }
    const total = `${found.more ? "more than " : ""}${number(found.total)}`;
    option(hashOf({ search: query }), found.total ? `All ${total} found by “${query}”` : `Nothing is found by “${query}”`);
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    say(found.total ? `${plural(Math.min(found.total, SUGGESTED), "campaign")} of ${total}; choose with the arrow keys` : "No campaign found");
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(suggest, PAUSE_MILLISECONDS);
  });
  input.addEventListener("keydown", (event) => {
    const count = options.length;
    if (event.key === "ArrowDown" && count) point((active + 1) % count);
    else if (event.key === "ArrowUp" && count) point((active <= 0 ? count : active) - 1);
    else if (event.key === "ArrowDown") suggest();
    else if (event.key === "Escape") { if (list.hidden) input.value = ""; close(); }
    else return;
    event.preventDefault();
  });
  input.addEventListener("blur", close);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    open(active >= 0 ? options[active].hash : hashOf({ search: input.value.trim() }));
  });
  return { show: (query) => { if (document.activeElement !== input) input.value = query; } };
}

/** The view of all that a query finds; an empty query finds all campaigns. */
export async function searchView(main, parameters, signal) {
  const query = parameters.get("search") ?? "";
  const page = Math.min(50, Math.max(1, Number.parseInt(parameters.get("page"), 10) || 1));
  await fill(main, "Searching …", () => get("campaigns", { query: query.slice(0, 200), page }, signal), (found) => {
    const heading = element("h2", { tabindex: "-1" }, query ? `Campaigns found by “${query}”` : "All campaigns");
    document.title = `${heading.textContent} – Similar campaigns`;
    if (!found.total) return [heading, nothing(query)];
    const total = `${found.more ? "More than " : ""}${plural(found.total, "campaign")}`;
    say(`${total}, page ${found.page} of ${found.pages}`);
    return [
      heading,
      element("p", { class: "meta" }, total, found.more ? "; more words find fewer" : ""),
      element("ol", { class: "results", start: (found.page - 1) * 20 + 1 }, found.campaigns.map((campaign) =>
        element("li", {},
          element("a", { href: hashOf({ campaign: campaign.campaign_id }) }, title(campaign)),
          element("span", { class: "meta" }, about(campaign))))),
      pages(query, found),
    ];
  }, signal);
}

function about(campaign) {
  const parts = [campaign.channel, campaign.client_id && `client ${campaign.client_id}`, `id ${campaign.campaign_id}`];
  if (campaign.matched === "keyword") parts.push("by its keywords");
  return parts.filter(Boolean).join(" · ");
}

function nothing(query) {
  if (!query) return element("p", { class: "empty" }, "This key sees no campaign yet.");
  return element("div", { class: "empty" },
    element("p", {}, "No campaign has all of these words: each must begin a word of the campaign’s name, its id or its keywords."),
    element("p", {}, element("a", { href: hashOf({ keywords: query }) }, `Ask for campaigns like the keyword “${query}”`), ", or ", element("a", { href: "#" }, "see all campaigns"), "."));
}

function pages(query, found) {
  if (found.pages < 2) return null;
  const link = (page, words) =>
    page < 1 || page > found.pages
      ? element("span", { class: "soft", "aria-hidden": "true" }, words)
      : element("a", { href: hashOf({ search: query, page }) }, words);
  return element("nav", { class: "pages", "aria-label": "Pages" },
    link(found.page - 1, "Previous"), element("span", { "aria-current": "page" }, `Page ${found.page} of ${found.pages}`), link(found.page + 1, "Next"));
}
