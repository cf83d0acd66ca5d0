// Calls of the lookup API, under the page's own origin and base path, and what their failures mean.

const BASE = new URL("v1/", document.baseURI);
const PATIENCE_MILLISECONDS = 40_000;

/** Why a call has no answer. `kind`: key, missing, terms, stale, busy, quota, offline, refused or failed. */
export class ApiError extends Error {
  constructor(kind, message, { retrySeconds = null, unknownTerms = [], requestId = null } = {}) {
    super(message);
    Object.assign(this, { kind, retrySeconds, unknownTerms, requestId });
  }
}

/** What this tab remembers; a browser that forbids it forgets at the next reload. */
const kept = new Map();
export const session = {
  get(name) {
    try { return sessionStorage.getItem(name) ?? kept.get(name) ?? ""; } catch { return kept.get(name) ?? ""; }
  },
  set(name, value) {
    kept.set(name, value);
    try { sessionStorage.setItem(name, value); } catch { /* forbidden or full: kept in memory */ }
  },
};

export const get = (path, query, signal) => call("GET", path, { query, signal });
export const post = (path, body, signal) => call("POST", path, { body, signal });

/** The path of a known campaign; ids may hold anything, a slash too. */
export const campaignPath = (id, below = "") => `campaigns/${encodeURIComponent(id)}${below}`;

async function call(method, path, { query = {}, body, signal }) {
  const url = new URL(path, BASE);
  url.search = new URLSearchParams(query);
  const headers = { accept: "application/json" };
  if (session.get("key")) headers["x-api-key"] = session.get("key");
  if (body !== undefined) headers["content-type"] = "application/json";
  const patience = AbortSignal.timeout(PATIENCE_MILLISECONDS);
  const signals = signal ? [signal, patience] : [patience];
  let response, told;
  try {
    response = await fetch(url, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.any ? AbortSignal.any(signals) : signal ?? patience,
      credentials: "omit", redirect: "error",
    });
    told = await response.json().catch((error) => { if (signal?.aborted || patience.aborted) throw error; return null; });
  } catch (error) {
    if (signal?.aborted) throw error;
    if (patience.aborted) throw new ApiError("busy", "The API took too long to answer.", { retrySeconds: 10 });
    const words = navigator.onLine ? "The API cannot be reached." : "This device is offline.";
    throw new ApiError("offline", words);
  }
  if (response.ok && told !== null) {
    if (told.model_version) document.dispatchEvent(new CustomEvent("answered", { detail: told.model_version }));
    return told;
  }
  throw failure(response, told ?? {});
}

function failure(response, problem) {
  const code = String(problem.type ?? "").split(":").pop();
  const more = {
    retrySeconds: Number.parseInt(response.headers.get("retry-after"), 10) || null,
    unknownTerms: Array.isArray(problem.unknown_terms) ? problem.unknown_terms : [],
    requestId: problem.request_id ?? response.headers.get("x-request-id"),
  };
  const detail = typeof problem.detail === "string" ? sentence(problem.detail) : "";
  switch (response.status) {
    case 403: return new ApiError("key", "The API knows no such key.", more);
    case 404: return new ApiError("missing", detail || "There is no such thing.", more);
    // Of feedback: the answer is too old, or another key's.
    case 422: if (code !== "no-known-terms") return new ApiError("stale", detail, more);
      return new ApiError("terms", detail || "The model knows none of these words.", more);
    case 429:
      if (code === "quota-exceeded") return new ApiError("quota", "This key’s quota is used up; it is renewed with the next period.", more);
      return new ApiError("busy", "Too many requests with this key.", { ...more, retrySeconds: more.retrySeconds ?? 2 });
    case 502: case 503: case 504:
      return new ApiError("busy", detail || "The API does not answer now.", { ...more, retrySeconds: more.retrySeconds ?? 5 });
    case 400: case 413: case 415: return new ApiError("refused", detail || "The API refuses this request.", more);
    default: return new ApiError("failed", `The API failed (status ${response.status}).`, more);
  }
}

const sentence = (words) => `${words.charAt(0).toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? "" : "."}`;
