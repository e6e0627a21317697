-- What the tuner reads of each routed request, with the user's latest rating of its answer; it makes
-- the labels itself.
WITH
-- part: opinions
events AS (
    SELECT DISTINCT
        decision_id, occurred_at, tenant_hash, session_hash, score, tier, lane, propensity, explored,
        follow_up, session_floor, requested_model, prompt_tokens, completion_tokens, status,
        classifier_version
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) BETWEEN '$first' AND '$last'
      AND lane <> 'direct'
)
SELECT
    events.*,
    opinions.rating
FROM events
LEFT JOIN opinions ON opinions.decision_id = events.decision_id AND opinions.nth = 1
