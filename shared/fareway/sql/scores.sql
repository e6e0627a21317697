-- Answered and priced requests by the score's twentieth of a point, complexity and tier: what other
-- cut points are tried on. `bucket` is null where something else than the cuts chose the tier: such
-- requests stay where they are. `p1` to `p5` are sums of the verdicts' probabilities; what is judged
-- and what failed is told as in `failed_tiers.sql`.
WITH events AS (
    SELECT DISTINCT
        decision_id, occurred_at, tenant_hash, session_hash, p1, p2, p3, p4, p5, score, complexity,
        tier, lane, raised, escalated, explored, follow_up, session_floor, requested_model, status,
        prompt_tokens, completion_tokens, cost_usd, baseline_usd
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) >= '$first'
),
-- part: next_turns
-- part: opinions
outcomes AS (
    SELECT
        turns.*,
        CASE
            WHEN score IS NOT NULL
                AND lane = 'standard'
                AND requested_model = 'fareway/auto'
                AND NOT escalated
                AND NOT coalesce(explored, FALSE)
                AND raised IS NULL
            THEN CAST(floor(score * 20) AS INTEGER)
        END                                                       AS bucket,
        CASE WHEN turns.said_next IS NOT NULL OR opinions.rating IS NOT NULL THEN 1 ELSE 0 END
                                                                  AS was_judged,
        CASE
            WHEN turns.said_next = 'complaint'
                OR (
                    turns.said_next IS NOT NULL
                    AND turns.lifted_to > turns.tier_rank
                    AND turns.lifted_to > turns.floor_rank
                )
                OR opinions.rating = 'down'
            THEN 1
            ELSE 0
        END                                                       AS has_failed
    FROM turns
    LEFT JOIN opinions ON opinions.decision_id = turns.decision_id AND opinions.nth = 1
    WHERE substr(turns.occurred_at, 1, 10) <= '$last'
      AND turns.status = 200
      AND turns.cost_usd IS NOT NULL
)
SELECT
    bucket,
    CASE WHEN bucket IS NOT NULL THEN complexity END              AS complexity,
    coalesce(tier, 'direct')                                      AS tier,
    count(*)                                                      AS requests,
    sum(prompt_tokens)                                            AS prompt_tokens,
    sum(completion_tokens)                                        AS completion_tokens,
    sum(cost_usd)                                                 AS cost_usd,
    sum(baseline_usd)                                             AS baseline_usd,
    sum(p1)                                                       AS p1,
    sum(p2)                                                       AS p2,
    sum(p3)                                                       AS p3,
    sum(p4)                                                       AS p4,
    sum(p5)                                                       AS p5,
    sum(was_judged)                                               AS judged,
    sum(has_failed)                                               AS failed
FROM outcomes
GROUP BY bucket, CASE WHEN bucket IS NOT NULL THEN complexity END, coalesce(tier, 'direct')
ORDER BY bucket, complexity, tier
