// Complexity -> tier -> model as a Sankey diagram, and as a table.

import { $, count, put, svg, table, usd } from "./dom.js";

const MODELS = 8; // drawn; the rest is one node
const NODE = 10; // wide, px
const GAP = 16; // between two nodes, px: a line of text
const TOP = 26; // for the columns' names, px
const TIERS = ["cheap", "mid", "premium", "direct"];

export function showFlow(flow, measure) {
  const at = $("flow");
  const show = measure === "requests" ? count : usd;
  at.replaceChildren(drawn(ways(flow, measure), at.clientWidth, show));
  put(
    $("flow-table"),
    table("Flow", ["complexity", "tier", "lane", "model", "requests", "spent"], flow.map((way) => [
      scored(way), way.tier, way.lane, way.served_model, count(way.requests), usd(way.cost_usd),
    ]), 4),
  );
}

const scored = (way) => (way.complexity === null ? "not scored" : String(way.complexity));
const lane = (way) => (way.lane === "sensitive" ? "sensitive" : way.tier);

/** Rows -> [{path: three names, tier, value}], small models as one. */
function ways(flow, measure) {
  const value = (way) => Number(way[measure]);
  const sums = new Map();
  for (const way of flow) sums.set(way.served_model, (sums.get(way.served_model) ?? 0) + value(way));
  const large = [...sums].sort((a, b) => b[1] - a[1]).slice(0, MODELS).map(([model]) => model);
  const model = (way) => (large.includes(way.served_model) ? way.served_model : "other models");
  return flow.filter(value).map((way) => ({ path: [scored(way), lane(way), model(way)], tier: way.tier, value: value(way) }));
}

function drawn(all, width, show) {
  const columns = [0, 1, 2].map((n) => nodesOf(all, n));
  const most = Math.max(...columns.map((nodes) => nodes.length));
  const height = Math.max(260, most * 40);
  const total = all.reduce((sum, way) => sum + way.value, 0);
  const scale = (height - GAP * (most - 1)) / (total || 1);
  columns.forEach((nodes, n) => placed(nodes, n, width, height, scale));
  const links = [0, 1].flatMap((n) => linksOf(all, columns, n, scale));
  const label = `${show(total)} in all: ${columns[1].map((node) => `${node.name} ${show(node.value)}`).join(", ")}.`;
  return svg(
    "svg",
    { width, height: height + TOP, viewBox: `0 0 ${width} ${height + TOP}`, role: "img", "aria-label": label },
    ["complexity", "tier", "model"].map((name, n) => text(name, columns[n][0]?.x ?? 0, 12, n, "column")),
    links.map((link) => svg("path", { d: link.d, class: `link ${link.tier}`, "stroke-width": link.width },
      svg("title", {}, `${link.from} → ${link.to}: ${show(link.value)}`))),
    columns.flatMap((nodes, n) => nodes.map((node) => svg(
      "g", {},
      svg("title", {}, `${node.name}: ${show(node.value)}`),
      svg("rect", { x: node.x, y: node.y, width: NODE, height: Math.max(1.5, node.height), rx: 2, class: `node ${n ? node.tier : ""}` }),
      text(node.name, node.x, node.y + node.height / 2 + 4, n, "", width > 520 ? show(node.value) : ""),
    ))),
  );
}

function text(words, x, y, column, kind, figure = "") {
  const last = column === 2;
  return svg("text", { x: last ? x - 5 : x + NODE + 5, y, "text-anchor": last ? "end" : "start", class: kind },
    words, figure ? svg("tspan", { class: "muted", dx: 6 }, figure) : "");
}

function nodesOf(all, column) {
  const nodes = new Map();
  for (const way of all) {
    const node = nodes.get(way.path[column]) ?? { name: way.path[column], tier: way.tier, value: 0, tiers: 0, in: 0, out: 0 };
    node.value += way.value;
    node.tiers += way.value * TIERS.indexOf(way.tier); // where a model belongs, for the order
    nodes.set(node.name, node);
  }
  const order = column === 2 ? (a, b) => a.tiers / a.value - b.tiers / b.value || b.value - a.value
    : column === 1 ? (a, b) => TIERS.indexOf(a.tier) - TIERS.indexOf(b.tier) || a.name.length - b.name.length
    : (a, b) => a.name.localeCompare(b.name);
  return [...nodes.values()].sort(order);
}

function placed(nodes, column, width, height, scale) {
  const used = nodes.reduce((sum, node) => sum + node.value * scale, 0) + GAP * (nodes.length - 1);
  let y = TOP + (height - used) / 2;
  for (const node of nodes) {
    node.x = [0, width * (width > 520 ? 0.36 : 0.26), width - NODE][column];
    node.y = y;
    node.height = node.value * scale;
    y += node.height + GAP;
  }
}

/** One link for each pair of nodes, laid in the order of its nodes so that few cross. */
function linksOf(all, columns, column, scale) {
  const find = (n, name) => columns[n].find((node) => node.name === name);
  const pairs = new Map();
  for (const way of all) {
    const [from, to] = way.path.slice(column, column + 2);
    const pair = pairs.get(`${from}\n${to}`) ?? { from, to, tier: way.tier, value: 0 };
    pair.value += way.value;
    pairs.set(`${from}\n${to}`, pair);
  }
  const place = (n, name) => columns[n].findIndex((node) => node.name === name);
  const links = [...pairs.values()].sort((a, b) =>
    place(column, a.from) - place(column, b.from) || place(column + 1, a.to) - place(column + 1, b.to));
  return links.map((link) => {
    const from = find(column, link.from);
    const to = find(column + 1, link.to);
    const width = Math.max(1, link.value * scale);
    const [y0, y1] = [from.y + from.out + width / 2, to.y + to.in + width / 2];
    from.out += link.value * scale;
    to.in += link.value * scale;
    const [x0, x1] = [from.x + NODE, to.x];
    const middle = (x0 + x1) / 2;
    return { ...link, width, d: `M${x0},${y0}C${middle},${y0} ${middle},${y1} ${x1},${y1}` };
  });
}
