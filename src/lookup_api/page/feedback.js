// Verdicts on keywords and neighbours: sent as feedback, remembered by this tab, taken back by the other verdict.

import { post, session } from "./api.js";
import { element, say } from "./dom.js";

const STORE = "verdicts";
const MOST = 2_000;
const verdicts = new Map(readStored());

function readStored() {
  try { return JSON.parse(session.get(STORE) || "[]"); } catch { return []; }
}

const keyOf = (subject, kind, item) => JSON.stringify([subject, kind, item]);

/** What was said in this tab about an item of a campaign: accepted, rejected, or nothing. */
export const verdictOf = (subject, kind, item) => verdicts.get(keyOf(subject, kind, item));

function remember(subject, kind, item, verdict) {
  verdicts.set(keyOf(subject, kind, item), verdict);
  if (verdicts.size > MOST) verdicts.delete(verdicts.keys().next().value);
  session.set(STORE, JSON.stringify([...verdicts]));
}

/** The address says what was asked, so loading the page again asks it again. */
const askAgain = () => element("button", { type: "button", on: { click: () => location.reload() } }, "Ask again");

/**
 * Two buttons, of which the pressed one is the verdict.
 * @param about {subject, kind, item, name, answer}: `subject` names the campaign, `answer` is what is judged
 * @param words {accept, reject}: what the buttons say
 * @param changed called when the verdict is another
 */
export function verdictButtons({ subject, kind, item, name, answer }, words, changed = () => {}) {
  const fault = element("p", { class: "fault", role: "alert", hidden: true });
  const buttons = Object.entries(words).map(([verdict, word]) =>
    element("button", { type: "button", class: `verdict ${verdict}`, "aria-label": `${word}: ${name}`, on: { click: () => give(verdict, word) } }, word));
  const kinds = Object.keys(words);

  function show() {
    const verdict = verdictOf(subject, kind, item);
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(kinds[place] === verdict)));
  }

  async function give(verdict, word) {
    fault.hidden = true;
    const by = session.get("by");
    if (!by) {
      document.dispatchEvent(new CustomEvent("name-needed"));
      return;
    }
    if (!answer.answer_id) {
      fault.replaceChildren("Not kept. The API takes no verdicts on this answer. ", askAgain());
      fault.hidden = false;
      return;
    }
    if (verdictOf(subject, kind, item) === verdict || buttons[0].getAttribute("aria-disabled")) return;
    buttons.forEach((button) => button.setAttribute("aria-disabled", "true"));
    try {
      await post("feedback", { answer_id: answer.answer_id, kind, item, verdict, by });
      remember(subject, kind, item, verdict);
      say(`${word}: ${name}. Kept.`);
    } catch (error) {
      fault.replaceChildren(`Not kept. ${error.message} `, ...(error.kind === "stale" ? [askAgain()] : ["Press again to repeat."]));
      fault.hidden = false;
      if (error.kind === "key") document.dispatchEvent(new CustomEvent("key-refused"));
    }
    buttons.forEach((button) => button.removeAttribute("aria-disabled"));
    show();
    changed();
  }

  show();
  return element("div", { class: "verdicts" }, element("div", { class: "pair", role: "group", "aria-label": `Verdict on ${name}` }, buttons), fault);
}
