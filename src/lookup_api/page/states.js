// What stands where an answer will be, or where there is none: loading, nothing found, errors with what to do about them.

import { ApiError } from "./api.js";
import { element, plural, say } from "./dom.js";

const TITLES = {
  key: "An API key is needed", missing: "Not found", terms: "The model knows none of these words", busy: "Not now",
  quota: "The quota is used up", offline: "No connection", refused: "The request was refused", failed: "Something failed",
};
const MAX_RETRIES = 3;
const LONGEST_WAIT_SECONDS = 60;

export const loading = (words) =>
  element("div", { class: "loading", "aria-busy": "true" }, element("span", { class: "spinner", "aria-hidden": "true" }), words);

/** A notice whose heading is of the given level: 2 where it stands for the whole view. */
export function notice(kind, level, heading, ...children) {
  return element("section", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : null }, element(`h${level}`, { tabindex: "-1" }, heading), ...children);
}

/**
 * Do something into a place: loading, then what `draw` makes of the answer, or the error. What is busy is tried again
 * by itself, three times at most; what is offline, when the connection is back.
 */
export async function fill(place, words, ask, draw, signal) {
  for (let attempt = 1; !signal.aborted; attempt++) {
    place.replaceChildren(loading(words));
    try {
      const answer = await ask();
      if (!signal.aborted) place.replaceChildren(...[await draw(answer)].flat());
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      if (error.kind === undefined) console.error(error); // a defect of the page: told as one, not swallowed
      const known = error.kind ? error : new ApiError("failed", "The page could not show this answer.");
      if (!(await again(place, known, attempt, signal))) return false;
    }
  }
  return false;
}

/** Show an error, and wait until it is to be tried again; false where that makes no sense. */
function again(place, error, attempt, signal) {
  const told = element("p", {}, error.message);
  const parts = [told];
  if (error.unknownTerms.length) {
    parts.push(element("p", {}, `${plural(error.unknownTerms.length, "word")} that the model does not know:`),
      element("ul", { class: "chips" }, error.unknownTerms.map((term) => element("li", {}, term))));
  }
  if (error.requestId && ["failed", "busy"].includes(error.kind)) parts.push(element("p", { class: "note" }, `Request ${error.requestId}`));
  if (error.kind === "key") document.dispatchEvent(new CustomEvent("key-refused"));
  const retries = ["busy", "offline", "failed"].includes(error.kind);
  return new Promise((settle) => {
    const stop = new AbortController();
    const end = (retry) => { stop.abort(); settle(retry); };
    signal.addEventListener("abort", () => end(false), { signal: stop.signal });
    if (retries) {
      const button = element("button", { type: "button", class: "primary", on: { click: () => end(true) } }, "Try again");
      parts.push(button);
    }
    if (error.kind === "offline") addEventListener("online", () => end(true), { signal: stop.signal });
    if (error.kind === "busy" && attempt <= MAX_RETRIES && error.retrySeconds <= LONGEST_WAIT_SECONDS) {
      const until = Date.now() + 1_000 * error.retrySeconds * attempt;
      const left = element("span", { "aria-hidden": "true" });
      const count = () => {
        const seconds = Math.ceil((until - Date.now()) / 1_000);
        left.textContent = ` Trying again in ${seconds} s.`;
        if (seconds <= 0) end(true);
      };
      const timer = setInterval(count, 250);
      stop.signal.addEventListener("abort", () => clearInterval(timer));
      count();
      told.append(left);
    }
    place.replaceChildren(notice(error.kind === "terms" ? "warn" : "bad", place.id === "main" ? 2 : 3, TITLES[error.kind], ...parts));
    if (error.kind === "terms") say(`${TITLES.terms}. ${error.unknownTerms.join(", ")}`);
    if (!retries) end(false);
  });
}
