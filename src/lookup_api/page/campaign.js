// A campaign, known or fresh: its topics, the campaigns like it and why, and the keywords that they use and it lacks.

import { campaignPath, get } from "./api.js";
import { editorCsv, fileName, isFormula, MATCH_TYPES, save } from "./csv.js";
import { chips, element, hashOf, money, number, percent, plural, say, swatch, title } from "./dom.js";
import { verdictButtons, verdictOf } from "./feedback.js";
import { fill, notice } from "./states.js";

const MOST_SIMILAR = 20;
const FIRST_SHOWN = 6;
const MOST_KEYWORDS = 100;
const OWN_KEYWORDS = 50;

/** The view of a known campaign. */
export async function campaignView(main, parameters, signal) {
  const id = parameters.get("campaign");
  await fill(main, "Loading the campaign …", () => get(campaignPath(id), {}, signal), (campaign) => {
    const subject = `campaign:${id}`;
    const similar = element("div"), recommended = element("div");
    fill(similar, "Loading similar campaigns …",
      () => get(campaignPath(id, "/similar"), { k: MOST_SIMILAR, explain: true }, signal),
      (answer) => similarList(answer, subject), signal);
    fill(recommended, "Loading recommended keywords …",
      () => get(campaignPath(id, "/recommendations"), { k: MOST_KEYWORDS }, signal),
      (answer) => recommendations(answer, subject, title(campaign)), signal);
    document.title = `${title(campaign)} – Similar campaigns`;
    const meta = [campaign.channel, campaign.client_id && `client ${campaign.client_id}`, `id ${campaign.campaign_id}`];
    return [
      element("h2", { tabindex: "-1" }, title(campaign)),
      element("p", { class: "meta" }, meta.filter(Boolean).join(" · ")),
      clusterLine(campaign, hashOf({ map: "", campaign: id })),
      section("Topics", topicBars(campaign.topics)),
      ownKeywords(campaign),
      section("Similar campaigns", similar),
      section("Recommended keywords", recommended),
    ];
  }, signal);
}

/** What a fresh campaign's answer is shown as. */
export function freshParts(answer, subject, name) {
  return [
    element("h2", { tabindex: "-1" }, name),
    confidence(answer),
    clusterLine(answer, hashOf({ map: "", cluster: answer.cluster })),
    section("Topics", topicBars(answer.topics)),
    section("Similar campaigns", similarList(answer, subject)),
    section("Recommended keywords", recommendations(answer, subject, name)),
  ];
}

const section = (heading, ...children) => element("section", {}, element("h3", {}, heading), ...children);

function clusterLine(campaign, place) {
  return element("p", {}, "Cluster: ", swatch(campaign.cluster), element("b", {}, campaign.cluster_label), " ", element("a", { href: place }, "Show on the map"));
}

/** How far a fresh campaign's answer is to be trusted; older models say nothing of it. */
function confidence(answer) {
  const parts = [];
  const told = answer.confidence;
  const known = told ? `The model knows ${percent(told.known_terms_share)} of this campaign’s words` : "";
  const nearest = told ? `the nearest campaign has a similarity of ${told.nearest.toFixed(2)}` : "";
  if (answer.low_confidence) {
    const why = told ? `${known}, and ${nearest}. ` : "";
    parts.push(notice("warn", 3, "Low confidence", element("p", {}, why, "Take what follows as a guess; more keywords help.")));
  } else if (told) parts.push(element("p", { class: "soft" }, `${known}; ${nearest}.`));
  if (answer.unknown_terms.length) parts.push(chips("Words that the model does not know", answer.unknown_terms));
  return element("div", {}, parts);
}

function topicBars(topics) {
  if (!topics.length) return element("p", { class: "soft" }, "No topic has a noticeable share.");
  return element("ul", { class: "bars" }, topics.map(({ topic, share, terms }) =>
    element("li", {},
      element("span", { class: "share" }, percent(share)),
      element("span", { class: "meter", "aria-hidden": "true", vars: { part: share } }),
      element("span", { class: "words" }, terms.join(", ") || `topic ${topic}`))));
}

function ownKeywords(campaign) {
  if (!campaign.num_keywords) return null;
  const shown = campaign.keywords.slice(0, OWN_KEYWORDS);
  const more = campaign.num_keywords - shown.length;
  return element("details", {},
    element("summary", {}, `Its own ${plural(campaign.num_keywords, "keyword")}`),
    element("ul", { class: "chips" }, shown.map((keyword) => element("li", {}, keyword))),
    more > 0 ? element("p", { class: "note" }, `and ${number(more)} more; the most clicked are shown`) : null,
    element("p", {}, element("a", { href: hashOf({ fresh: "", of: campaign.campaign_id }) }, "Change them, and ask again as a new campaign")));
}

function similarList(answer, subject) {
  if (!answer.similar.length) return element("p", { class: "empty" }, "No campaign that this key sees is similar enough.");
  const cards = answer.similar.map((campaign) => {
    const meta = [campaign.channel, campaign.client_id && `client ${campaign.client_id}`];
    return element("li", { class: "card" },
      element("div", { class: "head" },
        element("h4", {}, element("a", { href: hashOf({ campaign: campaign.campaign_id }) }, title(campaign))),
        element("span", { class: "similarity" },
          element("span", { class: "meter", "aria-hidden": "true", vars: { part: campaign.similarity } }),
          element("span", { class: "unseen" }, "similarity "), element("b", {}, campaign.similarity.toFixed(2)))),
      element("p", { class: "meta" }, meta.filter(Boolean).join(" · ")),
      chips("Words in both", campaign.shared_terms),
      chips("Related words", (campaign.related_terms ?? []).filter((term) => !campaign.shared_terms.includes(term))),
      chips("Topics in both", campaign.shared_topics.map((topic) => topic.terms.slice(0, 3).join(", "))),
      campaign.explanation ? explanation(campaign.explanation, campaign.similarity) : null,
      verdictButtons(
        { subject, kind: "neighbour", item: campaign.campaign_id, name: title(campaign), answer },
        { accepted: "Similar", rejected: "Not similar" }));
  });
  const list = element("ol", { class: "neighbours" }, cards.slice(0, FIRST_SHOWN));
  if (cards.length <= FIRST_SHOWN) return list;
  const more = element("button", { type: "button", on: { click: () => {
    list.append(...cards.slice(FIRST_SHOWN));
    cards[FIRST_SHOWN].querySelector("a").focus();
    more.remove();
  } } }, `Show ${number(cards.length - FIRST_SHOWN)} more`);
  return [list, more];
}

/** What a similarity is made of: parts by size, then those that are too small to be named; they add up to it. */
function explanation(parts, similarity) {
  const rows = [
    ...parts.terms.map(({ term, contribution }) => ["word", term, contribution]),
    ...(parts.related_terms ?? []).map(({ term, contribution }) => ["related word", term, contribution]),
    ...parts.topics.map(({ terms, contribution }) => ["topic", terms.slice(0, 3).join(", "), contribution]),
  ].sort((one, other) => other[2] - one[2]);
  const others = [["words in both", parts.other_terms], ["related words", parts.other_related_terms ?? 0], ["topics", parts.other_topics]];
  rows.push(...others.map(([kind, part]) => ["", `other ${kind}`, part]));
  const lists = [parts.terms, parts.related_terms ?? [], parts.topics];
  const sums = others.map(([kind, rest], at) => `${kind} ${lists[at].reduce((sum, one) => sum + one.contribution, rest).toFixed(2)}`);
  return element("details", {},
    element("summary", {}, `What the ${similarity.toFixed(2)} is made of`),
    element("p", { class: "note" }, `All together: ${sums.join(", ")}.`),
    element("ul", { class: "bars parts" }, rows.filter(([, , part]) => part >= 0.0005).map(([kind, words, part]) =>
      element("li", {},
        element("span", { class: "share" }, part.toFixed(3)),
        element("span", { class: "meter", "aria-hidden": "true", vars: { part: similarity ? part / similarity : 0 } }),
        element("span", { class: "words" }, words, kind ? element("small", {}, ` ${kind}`) : null)))));
}

function recommendations(answer, subject, campaign) {
  const found = answer.recommendations;
  if (!found.length) return element("p", { class: "empty" }, "No keyword is recommended: similar campaigns use none that this one lacks.");
  const keywords = found.map((one) => one.keyword);
  const accepted = () => keywords.filter((keyword) => verdictOf(subject, "keyword", keyword) === "accepted");
  const download = downloads(campaign, keywords, accepted);
  const rows = found.map((one) => {
    const row = element("tr");
    const mark = () => { row.className = verdictOf(subject, "keyword", one.keyword) ?? ""; };
    const buttons = verdictButtons(
      { subject, kind: "keyword", item: one.keyword, name: one.keyword, answer },
      { accepted: "Accept", rejected: "Reject" }, () => { mark(); download.renew(); });
    row.append(
      element("th", { scope: "row" }, one.keyword),
      element("td", { "data-label": "used by" }, `${plural(one.campaigns, "campaign")}, similar by ${one.similarity.toFixed(2)}`),
      element("td", { class: "number", "data-label": "clicks" }, number(one.clicks)),
      element("td", { class: "number", "data-label": "conversions" }, number(one.conversions)),
      element("td", { class: "number", "data-label": "cost" }, money(one.cost)),
      element("td", {}, buttons));
    mark();
    return row;
  });
  const heads = [["Keyword"], ["Used by"], ["Clicks", "number"], ["Conversions", "number"], ["Cost", "number"], ["Verdict"]];
  return [
    element("p", { class: "note" }, "Similar campaigns use these and this one does not. Figures are sums over those campaigns; – where none is known."),
    element("table", { class: "data stack", "aria-label": "Recommended keywords" },
      element("thead", {}, element("tr", {}, heads.map(([head, kind]) => element("th", { scope: "col", class: kind }, head)))),
      element("tbody", {}, rows)),
    download.form,
  ];
}

/** The form that saves keywords for Google Ads Editor. */
function downloads(campaign, keywords, accepted) {
  const field = (label, control) => element("label", {}, element("span", {}, label), control);
  const name = element("input", { type: "text", maxlength: "250" });
  const group = element("input", { type: "text", maxlength: "250" });
  name.value = campaign;
  group.value = "Recommended keywords";
  const match = element("select", {}, MATCH_TYPES.map((type) => element("option", { selected: type === "Phrase" }, type)));
  const chosen = element("button", { type: "submit", class: "primary" });
  const all = element("button", { type: "button", on: { click: () => write(keywords) } }, `Download all ${number(keywords.length)}`);
  const told = element("p", { class: "note" });
  function write(list) {
    const about = { campaign: name.value.trim(), adGroup: group.value.trim(), matchType: match.value };
    save(fileName(about.campaign), editorCsv(list, about));
    const changed = [about.campaign, about.adGroup, ...list].filter(isFormula).length;
    told.textContent = `Saved ${plural(list.length, "keyword")} for Google Ads Editor: Account, Import, From file.`
      + (changed ? ` ${plural(changed, "text")} that a spreadsheet would take for a formula ${changed === 1 ? "has" : "have"} an apostrophe in front; take it away in Editor.` : "");
    say(told.textContent);
  }
  function renew() {
    const count = accepted().length;
    chosen.disabled = !count;
    chosen.textContent = count ? `Download ${number(count)} accepted` : "None accepted yet";
  }
  renew();
  const submit = (event) => { event.preventDefault(); if (accepted().length) write(accepted()); };
  const form = element("form", { class: "card download", "aria-label": "Download for Google Ads Editor", on: { submit } },
    element("h4", {}, "For Google Ads Editor"),
    element("div", { class: "fields" }, field("Campaign", name), field("Ad group", group), field("Match type", match)),
    element("div", { class: "actions" }, chosen, all), told);
  return { form, renew };
}
