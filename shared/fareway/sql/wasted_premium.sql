-- Premium calls that a cheaper tier would probably have answered: the router chose premium by
-- complexity alone, prompt and answer were short, and the session did not complain of it next.
-- The dearest are listed; `calls` and `calls_usd` are of all of them. The sensitive lane, lifted
-- sessions, tiers by lot, and models that the caller asked for by name are no waste.
WITH events AS (
    SELECT DISTINCT
        decision_id, occurred_at, tenant_hash, key_id, session_hash, complexity, score, tier, lane,
        raised, escalated, explored, follow_up, requested_model, served_model, status,
        prompt_tokens, completion_tokens, cached_tokens, cost_usd
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) >= '$first'
),
-- What the session's next turn said of the answer. A conversation that begins anew says nothing.
turns AS (
    SELECT
        *,
        CASE WHEN session_hash IS NOT NULL THEN
            lead(follow_up) OVER (
                PARTITION BY tenant_hash, session_hash ORDER BY occurred_at, decision_id
            )
        END                                                       AS said_next
    FROM events
),
wasted AS (
    SELECT *
    FROM turns
    WHERE substr(occurred_at, 1, 10) <= '$last'
      AND (tier = 'premium' OR complexity = 5)
      AND lane = 'standard'
      AND requested_model = 'fareway/auto'
      AND NOT escalated
      AND NOT coalesce(explored, FALSE)
      AND raised IS NULL
      AND status = 200
      AND prompt_tokens <= $short_prompt_tokens
      AND completion_tokens <= $short_completion_tokens
      AND coalesce(said_next, 'neutral') <> 'complaint'
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
