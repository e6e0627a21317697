-- Where a tier did not suffice: the session's next turn complained, or the session was lifted to a
-- higher tier with it, or the user rated the answer down (the latest rating counts). An answer is
-- judged if a turn followed it or it was rated.
WITH events AS (
    SELECT DISTINCT
        decision_id, occurred_at, tenant_hash, session_hash, tier, served_model, follow_up,
        session_floor, escalated, raised, status, cost_usd
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) >= '$first'
),
-- part: next_turns
-- part: opinions
outcomes AS (
    SELECT
        turns.tier,
        turns.served_model,
        turns.cost_usd,
        CASE WHEN turns.said_next = 'complaint' THEN 1 ELSE 0 END AS complained,
        CASE
            WHEN turns.said_next IS NOT NULL
                AND turns.lifted_to > turns.tier_rank
                AND turns.lifted_to > turns.floor_rank
            THEN 1
            ELSE 0
        END                                                       AS lifted_after,
        CASE WHEN opinions.rating = 'down' THEN 1 ELSE 0 END      AS rated_down,
        CASE WHEN turns.said_next IS NOT NULL OR opinions.rating IS NOT NULL THEN 1 ELSE 0 END
                                                                  AS judged
    FROM turns
    LEFT JOIN opinions ON opinions.decision_id = turns.decision_id AND opinions.nth = 1
    WHERE substr(turns.occurred_at, 1, 10) <= '$last'
      AND turns.status = 200
      AND turns.tier IS NOT NULL
)
SELECT
    tier,
    coalesce(served_model, '(none)')                              AS served_model,
    count(*)                                                      AS answered,
    sum(judged)                                                   AS judged,
    sum(complained)                                               AS complaints,
    sum(lifted_after)                                             AS lifted_after,
    sum(rated_down)                                               AS rated_down,
    sum(CASE WHEN complained + lifted_after + rated_down > 0 THEN 1 ELSE 0 END) AS failed,
    sum(CASE WHEN complained + lifted_after + rated_down > 0 THEN cost_usd END) AS failed_usd
FROM outcomes
GROUP BY tier, coalesce(served_model, '(none)')
ORDER BY
    CASE tier WHEN 'cheap' THEN 1 WHEN 'mid' THEN 2 ELSE 3 END,
    answered DESC,
    served_model
