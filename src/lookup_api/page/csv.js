// Keywords as the CSV that Google Ads Editor imports (Account > Import > From file).
//
// Editor recognises columns by their English headers (support.google.com/google-ads/editor/answer/57747). A byte order
// mark tells it, and Excel, that the file is UTF-8; quoting is RFC 4180's.

export const HEADERS = ["Campaign", "Ad group", "Keyword", "Criterion Type"];
export const MATCH_TYPES = ["Broad", "Phrase", "Exact"];
const BYTE_ORDER_MARK = "\ufeff";
// What makes a spreadsheet take a cell for a formula, in ASCII and in full width; blanks before it do not help. Behind a
// semicolon too: where the comma is in decimals, a spreadsheet begins a new cell there, whatever the quotes say.
const FORMULA = /^(?=\s*[=+\-@＝＋－＠]|[\t\r\n])|;(?=[\s"]*[=+\-@＝＋－＠])/gu;

/** Whether a cell, or a part of it, would be taken for a formula. */
export const isFormula = (text) => text.search(FORMULA) >= 0;

/** A cell that is text wherever it is opened: an apostrophe stands before what would be a formula. */
export function cell(text) {
  const harmless = text.replace(FORMULA, "$&'");
  return /[",\r\n]|^\s|\s$/u.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

/** The file's text. */
export function editorCsv(keywords, { campaign, adGroup, matchType }) {
  const rows = keywords.map((keyword) => [campaign, adGroup, keyword, matchType]);
  return BYTE_ORDER_MARK + [HEADERS, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** A file name of letters and digits of the campaign's name. */
export function fileName(campaign) {
  const plain = campaign.normalize("NFKD").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60);
  return `keywords-${plain || "campaign"}.csv`;
}

/** Have the browser save a text as a file. */
export function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
