// A fresh campaign: keywords pasted one a line, asked of the model that serves.

import { campaignPath, get, post } from "./api.js";
import { freshParts } from "./campaign.js";
import { element, hashOf, number, plural, title } from "./dom.js";
import { fill, notice } from "./states.js";

const MOST_KEYWORDS = 1_000;
const LONGEST_KEYWORD = 1_000;
const LONGEST_LINK = 1_500;

/** Lines of a text without blank and repeated ones. */
export const linesOf = (text) => [...new Set(text.split(/\r?\n/u).map((line) => line.trim()).filter(Boolean))];

/** Where a campaign's answer is: in a link where it fits one, else in the browser's history alone. */
export function placeOf(campaign) {
  const hash = hashOf(Object.fromEntries(Object.entries({ keywords: campaign.keywords, negatives: campaign.negatives, name: campaign.name }).filter(([, text]) => text)));
  return hash.length <= LONGEST_LINK ? [hash, null] : [hashOf({ fresh: "answer" }), { campaign }];
}

/** The view: the form, and below it the answer to what is in the address or in the history. */
export async function freshView(main, parameters, signal, go) {
  document.title = "Paste keywords – Similar campaigns";
  let given = { keywords: parameters.get("keywords") ?? "", negatives: parameters.get("negatives") ?? "", name: parameters.get("name") ?? "" };
  if (parameters.get("fresh") === "answer") given = history.state?.campaign ?? given;
  const lost = parameters.get("fresh") === "answer" && !given.keywords;
  const answer = element("div", { id: "answer" });
  const { form, fields } = askForm(given, go);
  const heading = element("h2", { tabindex: "-1" }, "Campaigns like these keywords");
  main.replaceChildren(heading, form, answer);
  if (lost) answer.replaceChildren(notice("warn", 3, "The keywords are gone", element("p", {}, "They were too many for a link, and only the tab that asked remembers them. Paste them again.")));
  if (parameters.get("of")) await copyOf(parameters.get("of"), fields, answer, signal);
  const asked = checked(given);
  if (!asked.keywords?.length) return;
  const question = { ...asked, k: 20, num_recommendations: 50, explain: true };
  const subject = `fresh:${digest(JSON.stringify(asked))}`;
  await fill(answer, "Asking the model …", () => post("similar", question, signal), (found) => freshParts(found, subject, asked.name ?? "New campaign"), signal);
  if (!signal.aborted) (answer.querySelector("h2, h3") ?? heading).scrollIntoView({ block: "start" });
}

function askForm(given, go) {
  const area = (label, note, rows, value) => {
    const text = element("textarea", { rows, spellcheck: "false", autocapitalize: "none" });
    text.value = value;
    return [text, element("label", {}, element("span", {}, label), element("span", { class: "note" }, note), text)];
  };
  const [keywords, keywordsField] = area("Keywords or search terms", "One a line, at most 1,000", 8, given.keywords);
  const [negatives, negativesField] = area("Negative keywords (optional)", "One a line; what they exclude is not recommended", 2, given.negatives);
  const name = element("input", { type: "text", maxlength: "200" });
  name.value = given.name;
  const count = element("p", { class: "note" });
  const fault = element("p", { class: "fault", role: "alert", hidden: true, id: "keywords-fault" });
  keywords.setAttribute("aria-describedby", "keywords-fault");
  const recount = () => { count.textContent = keywords.value.trim() ? plural(linesOf(keywords.value).length, "keyword") : ""; };
  keywords.addEventListener("input", recount);
  recount();
  const submit = (event) => {
    event.preventDefault();
    const campaign = { keywords: keywords.value.trim(), negatives: negatives.value.trim(), name: name.value.trim() };
    const { problem } = checked(campaign);
    fault.hidden = !problem;
    fault.textContent = problem ?? "";
    keywords.toggleAttribute("aria-invalid", Boolean(problem));
    if (problem) keywords.focus();
    else go(...placeOf(campaign));
  };
  const form = element("form", { class: "ask", on: { submit } },
    keywordsField, count, fault,
    element("div", { class: "fields" }, negativesField, element("label", {}, element("span", {}, "Name (optional)"), element("span", { class: "note" }, "For the download; the model does not read it"), name)),
    element("button", { type: "submit", class: "primary" }, "Find similar campaigns"));
  return { form, fields: { keywords, name, recount } };
}

/** Put a known campaign's keywords into the form, to be changed. */
async function copyOf(id, fields, place, signal) {
  await fill(place, "Loading the campaign’s keywords …", () => get(campaignPath(id), {}, signal), (campaign) => {
    fields.keywords.value = campaign.keywords.join("\n");
    fields.name.value = title(campaign);
    fields.recount();
    const left = campaign.num_keywords - campaign.keywords.length;
    return element("p", { class: "note" }, left > 0 ? `${title(campaign)}: its ${number(campaign.keywords.length)} most clicked keywords, without ${number(left)} others.` : "");
  }, signal);
}

/** A campaign as the API takes it, or what is wrong with it. */
function checked({ keywords, negatives, name }) {
  const [own, excluded] = [linesOf(keywords), linesOf(negatives)];
  for (const [what, lines] of [["keywords", own], ["negative keywords", excluded]]) {
    if (lines.length > MOST_KEYWORDS) return { problem: `There are ${number(lines.length)} ${what}; at most ${number(MOST_KEYWORDS)} are taken.` };
    const long = lines.find((line) => line.length > LONGEST_KEYWORD);
    if (long) return { problem: `“${long.slice(0, 40)} …” has ${number(long.length)} characters; at most ${number(LONGEST_KEYWORD)} are taken.` };
  }
  if (!own.length) return { problem: "Paste at least one keyword." };
  return { keywords: own, negative_keywords: excluded, ...(name ? { name } : {}) };
}

/** A short name of a text, for what this tab remembers of it. */
function digest(text) {
  let hash = 2_166_136_261;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 16_777_619);
  return (hash >>> 0).toString(36);
}
