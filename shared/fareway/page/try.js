// A prompt -> the verdict and the decision, from /v1/route.

import { $, el, percent } from "./dom.js";

export function startTrying(ask) {
  $("try").addEventListener("submit", async (event) => {
    event.preventDefault();
    const content = $("prompt").value;
    $("tried").replaceChildren(el("p", { class: "note" }, "Scoring…"));
    try {
      const body = JSON.stringify({ messages: [{ role: "user", content }] });
      $("tried").replaceChildren(...told(await ask("v1/route", { method: "POST", body })));
    } catch (error) {
      $("tried").replaceChildren(el("p", { class: "trouble" }, error.message));
    }
  });
}

function told(decision) {
  const facts = [
    ["Tier", el("span", { class: `badge ${decision.tier}` }, decision.tier)],
    ["Complexity", decision.complexity === null ? "not scored" : `${decision.complexity} (score ${decision.score.toFixed(2)})`],
    ["Sensitivity", decision.sensitivity === null ? "–" : percent(decision.sensitivity)],
    ["Lane", decision.lane],
  ];
  return [
    el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    decision.probabilities && el("div", { class: "chances" }, decision.probabilities.map((p, n) => {
      const id = `chance-${n + 1}`;
      return el("div", {}, el("label", { for: id }, `Complexity ${n + 1}`), el("meter", { id, min: 0, max: 1, value: p }), el("span", { class: "figure" }, percent(p, 0)));
    })),
    el("h3", {}, "Why"),
    el("ul", {}, decision.reasons.map((reason) => el("li", {}, reason))),
    el("h3", {}, "Would be asked, in order"),
    el("ol", {}, decision.candidates.map((c) => el("li", {}, `${c.model} at ${c.aggregator}`))),
  ].filter(Boolean);
}
