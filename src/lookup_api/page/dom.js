// Elements and words of the page. Text is only ever set as text, never as markup.

/**
 * An element with attributes, listeners (`on`), custom properties (`vars`) and children; null children are left out.
 * @param {string} name
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else if (key === "vars") for (const [one, set] of Object.entries(value)) made.style.setProperty(`--${one}`, set);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** A link within the page: what is after the # are parameters, so that any id is one of them. */
export const hashOf = (parameters) => `#${new URLSearchParams(parameters)}`;

export const number = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en", { maximumFractionDigits: 1 }));
export const money = (value) =>
  value === null || value === undefined ? "–" : value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
export const percent = (share) => `${Math.round(share * 100)}%`;
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** What a campaign is called: its name, or its id where it has none. */
export const title = (campaign) => campaign.name || campaign.campaign_id || "New campaign";

/** Have a screen reader say something without moving the focus; the same words twice are said twice. */
export function say(words) {
  const status = document.getElementById("status");
  status.textContent = "";
  setTimeout(() => { status.textContent = words; }, 60);
}

/** A colour that reads on light and on dark paper, as [red, green, blue]: hues by the golden angle, as in a run's report. */
export function clusterColour(cluster) {
  const hue = (cluster * 137.508) % 360;
  const light = [0.46, 0.6, 0.53][cluster % 3];
  const strength = [0.68, 0.62, 0.5][Math.floor(cluster / 3) % 3] * Math.min(light, 1 - light);
  return [0, 8, 4].map((turn) => {
    const k = (turn + hue / 30) % 12;
    return Math.round(255 * (light - strength * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}

export const swatch = (cluster) =>
  element("span", { class: "swatch", "aria-hidden": "true", vars: { fill: `rgb(${clusterColour(cluster).join(" ")})` } });

/** Short texts in a row, with what they are. */
export function chips(label, texts) {
  if (!texts.length) return null;
  return element("div", { class: "shared" },
    element("span", { class: "what" }, label),
    element("ul", { class: "chips", "aria-label": label }, texts.map((text) => element("li", {}, text))));
}
