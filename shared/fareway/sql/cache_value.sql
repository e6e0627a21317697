-- What the decision cache found, and what that saved: the classifier's time on a prompt that it
-- knows nothing of, less what a hit of its kind still took, priced as the Lambda's memory-seconds.
WITH events AS (
    SELECT DISTINCT decision_id, cache_hit, complexity, cache_ms, classifier_ms
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) BETWEEN '$first' AND '$last'
),
routed AS (
    SELECT
        *,
        avg(CASE WHEN cache_hit = 'none' THEN classifier_ms END) OVER () AS miss_ms
    FROM events
    WHERE complexity IS NOT NULL
),
kinds AS (
    SELECT
        cache_hit,
        count(*)                                                  AS requests,
        avg(cache_ms)                                             AS mean_cache_ms,
        avg(classifier_ms)                                        AS mean_classifier_ms,
        sum(CASE WHEN cache_hit <> 'none' THEN miss_ms - classifier_ms ELSE 0 END) AS saved_ms
    FROM routed
    GROUP BY cache_hit
)
SELECT
    cache_hit,
    requests,
    CAST(requests AS DOUBLE) / CAST(sum(requests) OVER () AS DOUBLE) AS share,
    mean_cache_ms,
    mean_classifier_ms,
    saved_ms,
    saved_ms / 1000 * CAST('$memory_gb' AS DOUBLE) * CAST('$gb_second_usd' AS DOUBLE) AS saved_usd
FROM kinds
ORDER BY CASE cache_hit WHEN 'local' THEN 1 WHEN 'table' THEN 2 WHEN 'derivative' THEN 3 ELSE 4 END
