// Logged scores + other cut points -> what the same requests would have cost, and whether their
// tier would have sufficed. Pure.

/** The server's table of scores -> objects with numbers. */
export function read(scores) {
  return scores.rows.map((row) => {
    const bin = Object.fromEntries(scores.columns.map((name, n) => [name, row[n]]));
    return {
      ...bin,
      cost_usd: Number(bin.cost_usd),
      baseline_usd: Number(bin.baseline_usd),
      score: bin.bucket === null ? null : (bin.bucket + 0.5) * scores.bucket,
    };
  });
}

export const tierOf = (policy, complexity) => policy.tiers.find((t) => t.complexity.includes(complexity));

/**
 * @param bins as `read` gives them
 * @param policy the server's: its cuts, and tiers with their complexities and list prices
 * @param {number[]} cuts the four that are tried; where one is the policy's own, requests stay on
 *   the side on which they were logged
 * @returns {{requests, moved, cost, baseline, tiers, scored, suffices}} sums over all requests;
 *   `scored` and `suffices` over those that complexity alone sent to a tier
 */
export function project(bins, policy, cuts) {
  const sums = { requests: 0, moved: 0, cost: 0, baseline: 0, scored: 0, suffices: 0 };
  const tiers = Object.fromEntries([...policy.tiers.map((t) => t.tier), "direct"].map((name) => [name, 0]));
  for (const bin of bins) {
    const to = destination(bin, policy, cuts);
    const tier = to?.tier ?? bin.tier;
    sums.requests += bin.requests;
    sums.baseline += bin.baseline_usd;
    sums.cost += to ? listPrice(to, bin) : bin.cost_usd;
    sums.moved += to ? bin.requests : 0;
    tiers[tier] += bin.requests;
    if (bin.bucket !== null) {
      sums.scored += bin.requests;
      sums.suffices += sufficing(bin, policy, tier);
    }
  }
  return { ...sums, tiers };
}

/** The tier to which the cuts would have sent it instead; null: it stays. */
function destination(bin, policy, cuts) {
  if (bin.bucket === null) return null;
  const was = tierOf(policy, bin.complexity);
  if (was?.tier !== bin.tier) return null; // something else sent it there: a bound, or a climb
  const to = tierOf(policy, complexityAt(bin, policy, cuts));
  return to.tier === was.tier ? null : to;
}

/** 1 to 5, by the cuts that were moved, and as it was logged by the others. */
export function complexityAt(bin, policy, cuts) {
  const above = cuts.filter((cut, n) => (cut === policy.cuts[n] ? bin.complexity > n + 1 : bin.score >= cut));
  return 1 + above.length;
}

function listPrice(tier, bin) {
  const { input, output } = tier.usd_per_mtok;
  return (bin.prompt_tokens * input + bin.completion_tokens * output) / 1e6;
}

/** How many of them are expected to be no harder than the tier takes, by the verdicts' probabilities. */
function sufficing(bin, policy, tier) {
  const most = Math.max(...policy.tiers.find((t) => t.tier === tier).complexity);
  return [1, 2, 3, 4, 5].filter((c) => c <= most).reduce((sum, c) => sum + bin[`p${c}`], 0);
}
