-- What was answered, what only after a failover, and what failed, by day and by who answered.
-- 499: the caller left before the end. A stream that broke off counts by what its caller was told.
WITH events AS (
    SELECT DISTINCT
        decision_id, substr(occurred_at, 1, 10) AS day, aggregator, status, attempts, failovers
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) BETWEEN '$first' AND '$last'
)
SELECT
    day,
    coalesce(aggregator, '(none)')                                AS aggregator,
    count(*)                                                      AS requests,
    sum(CASE WHEN status = 200 THEN 1 ELSE 0 END)                 AS answered,
    sum(CASE WHEN status = 200 AND failovers > 0 THEN 1 ELSE 0 END) AS answered_by_failover,
    sum(CASE WHEN status = 499 THEN 1 ELSE 0 END)                 AS left_early,
    sum(CASE WHEN status BETWEEN 400 AND 498 THEN 1 ELSE 0 END)   AS refused,
    sum(CASE WHEN status >= 500 THEN 1 ELSE 0 END)                AS failed,
    sum(attempts)                                                 AS attempts,
    sum(failovers)                                                AS failovers
FROM events
GROUP BY day, coalesce(aggregator, '(none)')
ORDER BY day, requests DESC, aggregator
