-- Premium calls that a cheaper tier would probably have answered: the router chose premium by
-- complexity alone, prompt and answer were short, and nobody was dissatisfied: no complaint in the
-- session's next turn, no lift to premium with it, and the latest rating is not down. The dearest
-- are listed; `calls` and `calls_usd` are of all of them. The sensitive lane, lifted sessions, tiers
-- by lot, by a bound or because others could not answer, and models that the caller asked for by
-- name are no waste.
WITH events AS (
    SELECT DISTINCT
        decision_id, occurred_at, tenant_hash, key_id, session_hash, complexity, score, tier, lane,
        reason, raised, escalated, explored, follow_up, session_floor, requested_model, served_model,
        status, prompt_tokens, completion_tokens, cached_tokens, cost_usd
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) >= '$first'
),
-- part: next_turns
-- part: opinions
wasted AS (
    SELECT turns.*
    FROM turns
    LEFT JOIN opinions ON opinions.decision_id = turns.decision_id AND opinions.nth = 1
    WHERE substr(turns.occurred_at, 1, 10) <= '$last'
      AND tier = 'premium'
      AND lane = 'standard'
      AND requested_model = 'fareway/auto'
      AND NOT coalesce(escalated, FALSE)
      AND NOT coalesce(explored, FALSE)
      AND raised IS NULL
      AND reason NOT LIKE '%raised to %'
      AND reason NOT LIKE '%moved from %'
      AND reason NOT LIKE '%climbed from %'
      AND status = 200
      AND prompt_tokens <= $short_prompt_tokens
      AND completion_tokens <= $short_completion_tokens
      AND coalesce(said_next, 'neutral') <> 'complaint'
      AND NOT (said_next IS NOT NULL AND lifted_to >= tier_rank AND lifted_to > floor_rank)
      AND coalesce(opinions.rating, 'up') <> 'down'
)
SELECT
    decision_id,
    occurred_at,
    key_id,
    served_model,
    complexity,
    score,
    prompt_tokens,
    cached_tokens,
    completion_tokens,
    cost_usd,
    said_next,
    count(*) OVER ()                                              AS calls,
    sum(cost_usd) OVER ()                                         AS calls_usd
FROM wasted
ORDER BY cost_usd DESC NULLS LAST, decision_id
LIMIT 100
