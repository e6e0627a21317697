// The page: who may see it, which days, and what there is to see.

import { showDays } from "./days.js";
import { $, count, el, percent, put, table, usd } from "./dom.js";
import { redraw, showExplorer } from "./explorer.js";
import { showFlow } from "./flow.js";
import { startTrying } from "./try.js";

const KEPT = "fareway-admin-key"; // in this tab alone
let asked = 0; // how often the ledger was
let shown = null; // the summary on the page
let judged = null; // of the same days, how many answers were, and how many failed

/** A call of our own API -> its JSON; an error carries the API's own message, and `status`. */
async function ask(path, options = {}) {
  let answer;
  try {
    const headers = { authorization: `Bearer ${sessionStorage.getItem(KEPT)}`, "content-type": "application/json" };
    answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch {
    throw Object.assign(new Error("Fareway cannot be reached. Is it still running?"), { status: 0 });
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const message = body.error?.message ?? body.message ?? `Fareway answered ${answer.status}.`;
  throw Object.assign(new Error(message), { status: answer.status });
}

/** Each part of the page by a query of its own, all asked at once; what is slower is not waited for. */
async function load(first, last) {
  const mine = ++asked;
  const days = first ? `?${new URLSearchParams({ from: first, to: last })}` : "";
  const figures = (name) => ask(`v1/admin/savings/${name}${days}`);
  const fresh = () => mine === asked; // nobody has asked for other days since, or left
  judged = null;
  say("Reading the ledger…");
  $("figures").setAttribute("aria-busy", "true");
  for (const [name, show] of Object.entries(PARTS)) showPart(name, show, figures(name), fresh);
  try {
    const summary = await figures("summary");
    if (!fresh()) return;
    open(true);
    trouble("");
    showSummary(summary);
  } catch (error) {
    if (!fresh()) return;
    if (error.status === 401 || error.status === 403) leave();
    else open(true);
    $("figures").hidden = true;
    trouble(error.message);
  }
  $("figures").removeAttribute("aria-busy");
  say("");
}

const PARTS = { wasted_premium: showWasted, scores: showScores };

/** A section below the summary: it waits, shows or fails for itself. */
async function showPart(name, show, asking, fresh) {
  const section = $(`${name}-part`);
  const [state, part] = [section.querySelector(".state"), section.querySelector(".part")];
  state.className = "state note";
  state.textContent = "Reading…";
  part.setAttribute("aria-busy", "true");
  try {
    const figures = await asking;
    if (!fresh()) return;
    state.textContent = "";
    part.hidden = false;
    show(figures);
  } catch (error) {
    if (!fresh()) return;
    state.className = "state trouble";
    state.textContent = error.message;
    part.hidden = true;
  }
  part.removeAttribute("aria-busy");
}

function showSummary(figures) {
  shown = figures;
  const { totals, policy } = figures;
  $("period").elements.from.value = figures.from;
  $("period").elements.to.value = figures.to;
  $("figures").hidden = totals.requests === 0;
  if (totals.requests === 0) {
    return trouble(`No request from ${figures.from} to ${figures.to}. Days are summed up each hour; choose other days.`, true);
  }
  for (const at of document.querySelectorAll(".baseline")) at.textContent = policy.baseline;
  $("totals").replaceChildren(...stats(totals, policy.baseline));
  $("caveats").textContent = caveats(totals);
  draw();
  const read = figures.read_at.slice(0, 16).replace("T", " ");
  $("about").textContent = `Policy ${policy.version}. Read at ${read} UTC; days are summed up each hour.`;
}

/** What depends on the width or on the colours. */
function draw() {
  if (!shown || $("figures").hidden) return;
  showDays(shown.days, shown.policy.baseline);
  showFlow(shown.flow, $("measure").value);
  redraw();
}

function stats(totals, baseline) {
  return [
    ["Saved", usd(totals.saved_usd), `${percent(totals.saved_share)} of all at ${baseline}`, "saved"],
    ["Spent", usd(totals.cost_usd), `instead of ${usd(totals.baseline_usd)}`],
    ["Requests", count(totals.requests), `${percent(totals.answered / totals.requests)} answered`],
    ["Did not suffice", ...outcomes()],
  ].map(([name, value, more, kind = ""]) =>
    el("div", { class: `stat ${kind}` }, el("dt", {}, name), el("dd", {}, el("strong", {}, value), el("span", { class: "note" }, more))));
}

/** What users thought of the answers, once the scores are there. */
function outcomes() {
  if (!judged) return ["…", "of the answers that were judged"];
  return [judged.all ? percent(judged.failed / judged.all) : "–", `of ${count(judged.all)} answers that were judged`];
}

function showScores({ columns, rows, bucket, policy }) {
  const sum = (name) => rows.reduce((all, row) => all + row[columns.indexOf(name)], 0);
  judged = { all: sum("judged"), failed: sum("failed") };
  const stat = $("totals").lastElementChild;
  if (stat) [stat.querySelector("strong").textContent, stat.querySelector(".note").textContent] = outcomes();
  showExplorer({ columns, rows, bucket }, policy);
}

function caveats(totals) {
  const say = [];
  if (totals.unpriced) say.push(`Without a known price, and so not in the sums: ${count(totals.unpriced)}.`);
  if (totals.estimated) say.push(`With an estimated cost: ${count(totals.estimated)}.`);
  if (totals.failed) say.push(`Requests that failed: ${count(totals.failed)}.`);
  return say.join(" ");
}

function showWasted(wasted) {
  $("short").textContent = `at most ${wasted.short.prompt_tokens} prompt and ${wasted.short.completion_tokens} completion tokens`;
  $("wasted-all").textContent = wasted.calls
    ? `${count(wasted.calls)} calls, ${usd(wasted.cost_usd)} in all. The dearest:`
    : "None in these days.";
  const headings = ["cost", "when (UTC)", "key", "model", "score", "prompt tokens", "completion tokens"];
  const rows = wasted.rows.map((row) => [
    row.cost_usd === null ? "unpriced" : usd(row.cost_usd),
    el("span", { title: row.decision_id }, row.occurred_at.slice(0, 16).replace("T", " ")),
    row.key_id,
    row.served_model,
    row.score === null ? "not scored" : `${row.score.toFixed(2)} (${row.complexity})`,
    count(row.prompt_tokens),
    count(row.completion_tokens),
  ]);
  $("wasted").hidden = rows.length === 0;
  put($("wasted"), table("Wasted calls, the dearest first", headings, rows, 4));
}

const say = (text) => ($("doing").textContent = text);

function trouble(text, mild = false) {
  $("trouble").hidden = !text;
  $("trouble").classList.toggle("mild", mild);
  $("trouble").textContent = text;
}

function open(yes) {
  $("login").hidden = yes;
  $("period").hidden = !yes;
}

function leave() {
  sessionStorage.removeItem(KEPT);
  asked++;
  shown = judged = null;
  for (const id of ["totals", "days-table", "flow", "flow-table", "wasted", "tried", "projection"]) $(id).replaceChildren();
  $("figures").hidden = true;
  $("figures").removeAttribute("aria-busy");
  say("");
  $("about").textContent = "";
  open(false);
  $("key").focus();
}

function back(days) {
  const day = (ago) => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10);
  return [day(days - 1), day(0)];
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEPT, $("key").value.trim());
  $("key").value = "";
  load();
});
$("period").addEventListener("submit", (event) => {
  event.preventDefault();
  load($("period").elements.from.value, $("period").elements.to.value);
});
$("period").addEventListener("click", (event) => {
  if (event.target.dataset.days) load(...back(Number(event.target.dataset.days)));
});
$("leave").addEventListener("click", () => {
  trouble("");
  leave();
});
$("measure").addEventListener("change", () => shown && showFlow(shown.flow, $("measure").value));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) draw();
  width = innerWidth;
});
startTrying(ask);
if (sessionStorage.getItem(KEPT)) load();
else leave();
