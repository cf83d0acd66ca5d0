// The page: which view the address names, the API key, and where the focus goes.

import { session } from "./api.js";
import { campaignView } from "./campaign.js";
import { element } from "./dom.js";
import { freshView } from "./fresh.js";
import { mapView } from "./map.js";
import { searchBox, searchView } from "./search.js";
import { notice } from "./states.js";

const main = document.getElementById("main");
const access = document.getElementById("access"), key = document.getElementById("key"), by = document.getElementById("by");
const faults = { key: document.getElementById("key-fault"), by: document.getElementById("by-fault") };
const box = searchBox((hash) => go(hash));
let shown = new AbortController();
let before = null;

const parametersOf = () => new URLSearchParams(location.hash.slice(1));

function viewOf(parameters) {
  if (parameters.has("campaign") && !parameters.has("map")) return ["campaign", campaignView];
  if (parameters.has("map")) return ["map", mapView];
  if (parameters.has("keywords") || parameters.has("fresh")) return ["fresh", freshView];
  return ["search", searchView];
}

/** Go to an address of the page; `state` is what does not fit into it. */
function go(hash, state = null) {
  history.pushState(state, "", hash);
  render();
}

async function render({ focus = true } = {}) {
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  const parameters = parametersOf();
  const [name, view] = viewOf(parameters);
  before = location.hash;
  for (const link of document.querySelectorAll("nav [data-view]")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  box.show(parameters.get("search") ?? "");
  if (!session.get("key")) {
    askForKey("");
    main.replaceChildren(notice("warn", 2, "An API key is needed", element("p", {}, "Enter yours above. It says whose campaigns you see.")));
    return;
  }
  const top = history.state?.top ?? 0;
  if (focus) scrollTo({ top, behavior: "instant" });
  await view(main, parameters, signal, go);
  if (signal.aborted || !focus) return;
  const typing = document.activeElement?.matches?.("#query, #key, #by");
  if (!typing) (main.querySelector("#answer h2, #answer h3") ?? main.querySelector("h2") ?? main).focus({ preventScroll: true });
  if (top) scrollTo({ top, behavior: "instant" });
}

function tell(field, words) {
  faults[field].textContent = words;
  faults[field].hidden = !words;
  document.getElementById(field).toggleAttribute("aria-invalid", Boolean(words));
}

function askForKey(words) {
  access.open = true;
  tell("key", words);
  key.focus();
}

function showAccess() {
  key.value = session.get("key");
  by.value = session.get("by");
  const parts = [session.get("key") ? "key given" : "no key", session.get("by") ? session.get("by") : "no name"];
  document.getElementById("access-state").textContent = `– ${parts.join(", ")}`;
}

document.getElementById("access-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const [given, name] = [key.value.trim(), by.value.trim()];
  // Headers carry printable ASCII alone; the API would never see such a key.
  if (/[^\x21-\x7e]/u.test(given)) { tell("key", "A key has no blanks and no accented letters; copy it again."); return; }
  const other = given !== session.get("key");
  session.set("key", given);
  session.set("by", name);
  tell("key", given ? "" : "Enter a key.");
  tell("by", "");
  showAccess();
  if (!given) return;
  access.open = false;
  if (other || !main.querySelector("h2")) render();
  else access.querySelector("summary").focus();
});
document.addEventListener("key-refused", () => askForKey("The API knows no such key, or it has ended. Enter another."));
document.addEventListener("name-needed", () => {
  access.open = true;
  tell("by", "Verdicts are stored with who gave them: enter your name, then press the button again.");
  by.focus();
});
document.addEventListener("answered", ({ detail }) => { document.getElementById("version").textContent = `Answered from model ${detail}.`; });
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address says what is shown, not where one stands
  main.focus();
});

history.scrollRestoration = "manual";
let settling = 0;
addEventListener("scroll", () => {
  clearTimeout(settling);
  settling = setTimeout(() => {
    if (location.hash === before) history.replaceState({ ...history.state, top: scrollY }, "");
  }, 150);
}, { passive: true });
addEventListener("popstate", () => render());
addEventListener("beforeunload", () => shown.abort());

showAccess();
render({ focus: false });
