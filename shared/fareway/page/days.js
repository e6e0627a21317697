// Spend and savings by day: the baseline above, what was spent below, saved between them.

import { $, colour, count, percent, put, table, usd } from "./dom.js";

let plot = null;

export function showDays(days, baseline) {
  const data = [
    days.map((day) => Date.parse(`${day.day}T00:00Z`) / 1000),
    days.map((day) => Number(day.baseline_usd)),
    days.map((day) => Number(day.cost_usd)),
  ];
  const at = $("days");
  plot?.destroy();
  plot = new uPlot(options(at.clientWidth, days.length, baseline), data, at);
  at.setAttribute("role", "img");
  at.setAttribute("aria-label", `A chart of ${days.length} days; the table below has its figures.`);
  put(
    $("days-table"),
    table("Days", ["day", "requests", "spent", `all at ${baseline}`, "saved"], days.map((day) => {
      const saved = day.baseline_usd - day.cost_usd;
      const share = Number(day.baseline_usd) ? saved / day.baseline_usd : null;
      return [day.day, count(day.requests), usd(day.cost_usd), usd(day.baseline_usd), `${usd(saved)} (${percent(share, 0)})`];
    })),
  );
}

/** The legend tells the last day's figures unless another is pointed at. */
const lastDay = (plot) => plot.setLegend({ idx: plot.data[0].length - 1 });

const short = (n) => `$${n.toLocaleString("en", { maximumFractionDigits: 6 })}`;

function options(width, days, baseline) {
  const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  const points = { show: days < 3 };
  const value = (_, amount) => (amount === null ? "–" : usd(amount));
  return {
    width,
    height: width < 500 ? 220 : 280,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    scales: { y: { range: (_, __, most) => [0, most > 0 ? most * 1.08 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, values: "{D} {MMM}", space: 64 },
      { ...axis, values: (_, ticks) => ticks.map(short), size: 56 },
    ],
    series: [
      { label: "day", value: "{YYYY}-{MM}-{DD}" },
      { label: `all at ${baseline}`, stroke: colour("muted"), dash: [6, 4], width: 1.5, points, value },
      { label: "spent", stroke: colour("spent"), fill: colour("spent-fill"), width: 2, points, value },
    ],
    bands: [{ series: [1, 2], fill: colour("saved-fill") }],
    cursor: { y: false },
    hooks: { ready: [lastDay], setCursor: [(plot) => plot.cursor.idx === null && lastDay(plot)] },
  };
}
