// The threshold explorer: four sliders, the scores that they cut, and what comes of it.

import { $, count, el, percent, put, svg, table, usd } from "./dom.js";
import { complexityAt, project, read, tierOf } from "./project.js";

const STEP = 0.05;
const HEIGHT = 130;
const names = ["1 | 2", "2 | 3", "3 | 4", "4 | 5"];

let state = null;

export function showExplorer(scores, policy) {
  const kept = state?.policy.version === policy.version ? state.cuts : [...policy.cuts];
  state = { bins: read(scores), policy, cuts: kept };
  $("cuts").replaceChildren($("cuts").querySelector("legend"), ...policy.cuts.map(slider));
  $("method").textContent =
    "Moved requests are priced with their own tokens at the list price of the tier's first model (" +
    policy.tiers.map((t) => `${t.tier}: ${t.model}`).join(", ") +
    "), without a discount for cached tokens. Expected to suffice: by the classifier's own probabilities, " +
    "of requests that complexity alone sent to a tier.";
  $("reset").onclick = () => {
    state.cuts = [...policy.cuts];
    redraw();
  };
  redraw();
}

function slider(_, n) {
  const { policy } = state;
  const [below, above] = [tierOf(policy, n + 1).tier, tierOf(policy, n + 2).tier];
  const input = el("input", { type: "range", id: `cut-${n + 1}`, min: 1 + STEP, max: 5 - STEP, step: STEP });
  input.addEventListener("input", () => move(n, Number(input.value)));
  const between = below === above ? "" : `, ${below} | ${above}`;
  return el("div", { class: "cut" }, el("label", { for: input.id }, `Complexity ${names[n]}${between}`),
    el("output", { for: input.id }), input);
}

/** Moves a cut, and before it those that it would pass. */
function move(n, value) {
  const last = state.cuts.length - 1;
  const round = (x) => Number(x.toFixed(2));
  state.cuts[n] = round(Math.min(Math.max(value, 1 + STEP * (n + 1)), 5 - STEP * (last - n + 1)));
  for (let i = n + 1; i <= last; i++) state.cuts[i] = Math.max(state.cuts[i], round(state.cuts[i - 1] + STEP));
  for (let i = n - 1; i >= 0; i--) state.cuts[i] = Math.min(state.cuts[i], round(state.cuts[i + 1] - STEP));
  redraw();
}

export function redraw() {
  if (!state) return;
  const { bins, policy, cuts } = state;
  [...$("cuts").querySelectorAll(".cut")].forEach((row, n) => {
    row.querySelector("input").value = cuts[n];
    row.querySelector("output").value = cuts[n].toFixed(2);
  });
  $("toml").textContent = `cuts = [${cuts.join(", ")}]`;
  $("scores").replaceChildren(histogram());
  put($("projection"), compared(project(bins, policy, policy.cuts), project(bins, policy, cuts)));
}

function compared(was, would) {
  const saved = (p) => (p.baseline ? 1 - p.cost / p.baseline : null);
  const suffices = (p) => (p.scored ? p.suffices / p.scored : null);
  const share = (tier) => (p) => (p.requests ? p.tiers[tier] / p.requests : null);
  const row = (name, of, show, change) => [name, show(of(was)), show(of(would)), change(of(was), of(would))];
  const points = (a, b) => (a === null || b === null ? "" : signed(100 * (b - a), (x) => `${x.toFixed(1)}\u00a0pt`));
  const money = (a, b) => (a ? signed((100 * (b - a)) / a, (x) => `${x.toFixed(1)}\u00a0%`) : "");
  return table("Projection", ["figure", "as logged", "with these", "change"], [
    row("Cost", (p) => p.cost, usd, money),
    row("Saved", saved, percent, points),
    row("Expected to suffice", suffices, percent, points),
    ...state.policy.tiers.map((t) => row(`Share of ${t.tier}`, share(t.tier), percent, points)),
    ["Requests moved", "", `${count(would.moved)} of ${count(would.requests)}`, ""],
  ]);
}

const signed = (x, show) => (Number(x.toFixed(1)) === 0 ? "±0" : `${x > 0 ? "+" : "−"}${show(Math.abs(x))}`);

/** Requests by score, in the colour of the tier that the cuts give them. */
function histogram() {
  const { bins, policy, cuts } = state;
  const width = $("scores").clientWidth;
  const stacks = new Map();
  for (const bin of bins.filter((b) => b.bucket !== null)) {
    const tier = tierOf(policy, complexityAt(bin, policy, cuts)).tier;
    const stack = stacks.get(bin.bucket) ?? { score: bin.score, tier, requests: 0 };
    stack.requests += bin.requests;
    stacks.set(bin.bucket, stack);
  }
  const most = Math.max(1, ...[...stacks.values()].map((s) => s.requests));
  const x = (score) => ((score - 1) / 4) * width;
  const bar = width / 80;
  return svg(
    "svg",
    { width, height: HEIGHT + 20, viewBox: `0 0 ${width} ${HEIGHT + 20}`, role: "img", "aria-label": "Requests by score; the cut points part it into the five complexities." },
    [...stacks.values()].map((s) => {
      const height = Math.max(1, (s.requests / most) * (HEIGHT - 8));
      return svg("rect", { x: x(s.score) - bar / 2 + 0.5, y: HEIGHT - height, width: Math.max(1, bar - 1), height, class: `node ${s.tier}` },
        svg("title", {}, `score ${s.score.toFixed(2)}: ${count(s.requests)}`));
    }),
    cuts.map((cut) => svg("line", { x1: x(cut), x2: x(cut), y1: 0, y2: HEIGHT, class: "cut-line" })),
    [1, 2, 3, 4, 5].map((score) => svg("text", { x: Math.min(Math.max(x(score), 4), width - 4), y: HEIGHT + 16, "text-anchor": "middle", class: "muted" }, String(score))),
  );
}
